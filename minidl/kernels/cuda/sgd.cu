#include "many.cuh"

// The rule of optim/sgd.py. A block updates one chunk of one parameter, a thread every 256th
// element of the chunk. kernels/cuda/sgd.py names the members of Row.
extern "C" __global__ void sgd(const Table table)
{
    const int block = blockIdx.x + table.first;
    const Row& row = row_of(table, block);
    T* __restrict__ param = row.param;
    const T* __restrict__ grad = row.grad;
    T* __restrict__ state = row.state;
    const T rate = row.rate, momentum = row.momentum, undamped = row.undamped;
    const T decay = row.decay, decay_rate = row.decay_rate;
    const bool nesterov = row.nesterov, in_velocity = row.in_velocity, first = row.first_step;
    const T sign = row.maximize ? -1 : 1;

    #pragma unroll 4
    FOR_EACH_OF_CHUNK(i, row, block) {
        const T w = param[i];
        T g = sign * grad[i];
        if (in_velocity) {  // v ← m·v − λ·ε·w − ε·g;  w ← w + v
            T v = times(state[i], momentum);
            if (decay != 0) v -= times(w, decay_rate);
            v -= times(g, rate);
            state[i] = v;
            param[i] = w + v;
            continue;
        }
        if (decay != 0) g += times(w, decay);
        if (state) {  // b ← m·b + (1 − d)·g
            const T b = first ? g : times(state[i], momentum) + times(g, undamped);
            state[i] = b;
            g = nesterov ? g + times(b, momentum) : b;
        }
        param[i] = w - times(g, rate);
    }
}
