#include "many.cuh"

// g ← g·factor; found[0] = 1 if a product is not finite. All that write it write the same.
extern "C" __global__ void unscale(const Table table, unsigned char* found, T factor)
{
    const int block = blockIdx.x + table.first;
    const Row& row = row_of(table, block);
    T* __restrict__ grad = row.grad;
    bool bad = false;
    #pragma unroll 4
    FOR_EACH_OF_CHUNK(i, row, block) {
        const T g = grad[i] * factor;
        grad[i] = g;
        bad |= !(g - g == T(0));  // infinity less itself is NaN
    }
    if (bad) found[0] = 1;
}
