#include "many.cuh"

// The rule of optim/adam.py. A block updates one chunk of one parameter, a thread every 256th
// element of the chunk. kernels/cuda/adam.py names the members of Row.
extern "C" __global__ void adam(const Table table)
{
    const int block = blockIdx.x + table.first;
    const Row& row = row_of(table, block);
    T* __restrict__ param = row.param;
    const T* __restrict__ grad = row.grad;
    T* __restrict__ mean = row.mean;
    T* __restrict__ square = row.square;
    T* __restrict__ largest = row.largest;
    const T rest1 = row.rest1, beta2 = row.beta2, rest2 = row.rest2, eps = row.eps;
    const T step_size = row.step_size, root = row.root, decay = row.decay, shrink = row.shrink;
    const bool decoupled = row.decoupled;
    const T sign = row.maximize ? -1 : 1;

    #pragma unroll 2
    FOR_EACH_OF_CHUNK(i, row, block) {
        T w = param[i], g = sign * grad[i];
        if (decoupled) w = times(w, shrink);
        else if (decay != 0) g += times(w, decay);

        const T m = mean[i] + times(g - mean[i], rest1);  // m ← m + (1 − β₁)·(g − m)
        T s = times(square[i], beta2) + times(times(g, g), rest2);  // s ← β₂·s + (1 − β₂)·g²
        mean[i] = m;
        square[i] = s;
        if (largest) {
            const T before = largest[i];
            s = before > s || before != before ? before : s;  // NaN stays
            largest[i] = s;
        }
        param[i] = w - times(m / (sqrt(s) / root + eps), step_size);
    }
}
