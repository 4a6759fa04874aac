#include "epilogue.cuh"

// y = epilogue(y + b), with b = 0 if there is none; one thread a number.
extern "C" __global__ void add_bias(
    const T* bias, T* y, long long size, int columns, bool has_bias, int epilogue)
{
    FOR_EACH(i, size) y[i] = activate(A(y[i]) + (has_bias ? A(bias[i % columns]) : A(0)), epilogue);
}

// A warp's part in sums[c] = Σ_r x[r, c]: a block takes 32 columns, each of its 8 warps adds up
// every 8th row, neighboring threads take neighboring columns; then the warps' sums are added in
// order.
__device__ void write_sum(A sum, A* sums, int columns)
{
    __shared__ A partial[8][32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int column = blockIdx.x * 32 + lane;
    partial[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || column >= columns) return;
    for (int other = 1; other < 8; other++) sum += partial[other][lane];
    sums[column] = sum;
}

extern "C" __global__ void sum_rows(const T* x, A* sums, int rows, int columns)
{
    const int column = blockIdx.x * 32 + threadIdx.x % 32;
    A sum = 0;
    if (column < columns) {
        #pragma unroll 4
        for (int row = threadIdx.x / 32; row < rows; row += 8)
            sum += A(x[(long long)row * columns + column]);
    }
    write_sum(sum, sums, columns);
}

// The same for dy = grad where y > 0, else 0: the gradients of ReLU and b in one pass. dy may be
// the memory of grad.
extern "C" __global__ void sum_rectified_rows(
    const T* y, const T* grad, T* dy, A* sums, int rows, int columns)
{
    const int column = blockIdx.x * 32 + threadIdx.x % 32;
    A sum = 0;
    if (column < columns) {
        #pragma unroll 4
        for (int row = threadIdx.x / 32; row < rows; row += 8) {
            const long long i = (long long)row * columns + column;
            const T passed = passes(y[i], RELU) ? grad[i] : T(0);
            dy[i] = passed;
            sum += A(passed);
        }
    }
    write_sum(sum, sums, columns);
}
