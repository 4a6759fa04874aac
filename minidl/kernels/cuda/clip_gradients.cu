#include "many.cuh"

#define INFINITE T(__int_as_float(0x7f800000))

// The larger number, or NaN.
__device__ inline T larger(T a, T b) { return a > b || a != a ? a : b; }

// The block's sum of `value` (its largest if `largest`), in a fixed order, for thread 0 of 256.
__device__ inline T block_total(T value, bool largest)
{
    __shared__ T partial[256];
    partial[threadIdx.x] = value;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x >= half) continue;
        const T other = partial[threadIdx.x + half];
        partial[threadIdx.x] =
            largest ? larger(partial[threadIdx.x], other) : partial[threadIdx.x] + other;
    }
    return partial[0];
}

// Σ|g|^p over a block's elements (max |g| for an infinite p) as one of `partial`.
extern "C" __global__ void powers(const Table table, T* partial, T p)
{
    const int block = blockIdx.x + table.first;
    const Row& row = row_of(table, block);
    const T* __restrict__ grad = row.grad;
    const bool largest = p == INFINITE;
    T total = 0;
    #pragma unroll 4
    FOR_EACH_OF_CHUNK(i, row, block) {
        const T g = abs(grad[i]);
        if (largest) total = larger(total, g);
        else total += p == 2 ? g * g : p == 1 ? g : pow(g, p);
    }
    total = block_total(total, largest);
    if (threadIdx.x == 0) partial[block] = total;
}

// result = {the norm, the factor that brings it down to max_norm}. One block.
extern "C" __global__ void norm_and_factor(const T* partial, int count, T* result, T p, T max_norm)
{
    const bool largest = p == INFINITE;
    T total = 0;
    for (int i = threadIdx.x; i < count; i += 256)
        total = largest ? larger(total, partial[i]) : total + partial[i];
    total = block_total(total, largest);
    if (threadIdx.x > 0) return;
    if (!largest && p != 1) total = p == 2 ? sqrt(total) : pow(total, 1 / p);
    const T factor = max_norm / (total + T(1e-6));
    result[0] = total;
    result[1] = factor > 1 ? T(1) : factor;  // NaN stays
}

// g ← g·factor
extern "C" __global__ void scale(const Table table, const T* result)
{
    const int block = blockIdx.x + table.first;
    const Row& row = row_of(table, block);
    T* __restrict__ grad = row.grad;
    const T factor = result[1];
    #pragma unroll 4
    FOR_EACH_OF_CHUNK(i, row, block) grad[i] *= factor;
}

// g ← g, at least `low` and at most `high`
extern "C" __global__ void limit(const Table table, T low, T high)
{
    const int block = blockIdx.x + table.first;
    const Row& row = row_of(table, block);
    T* __restrict__ grad = row.grad;
    #pragma unroll 4
    FOR_EACH_OF_CHUNK(i, row, block) {
        T g = grad[i];
        g = g < low ? low : g;
        grad[i] = g > high ? high : g;
    }
}
