#include "power.cuh"

// The sum of the numbers (of their squares, if `squared`) of a map (height, width) from `before`
// rows and columns ahead of (h, w) to `after` behind it.
__device__ T window_sum(
    const T* map, int height, int width, int h, int w, int before, int after, bool squared)
{
    const int end_h = min(h + after + 1, height), end_w = min(w + after + 1, width);
    T sum = 0;
    for (int row = max(h - before, 0); row < end_h; row++) {
        T across = 0;
        for (int column = max(w - before, 0); column < end_w; column++) {
            const T value = map[row * width + column];
            across += squared ? value * value : value;
        }
        sum += across;
    }
    return sum;
}

// One thread a number.
extern "C" __global__ void spatial_response_norm_forward(
    const T* x, T* y, int maps, int height, int width, int size, T alpha, T beta, T k)
{
    FOR_EACH(i, (long long)maps * height * width) {
        const Index row = i / width, map = row / height;
        const int h = row - map * height, w = i - row * width;
        const T s = k + alpha * window_sum(
            x + map * height * width, height, width, h, w, size / 2, (size - 1) / 2, true);
        y[i] = x[i] * negative_power(s, rsqrt(s), beta);
    }
}

// One block a map, since a number's gradient needs what other threads compute for its neighbors:
// first all threads write crosses = g·x·s^(-β) / s, and the part of dx that needs no neighbors;
// then they add up the mirrored windows.
extern "C" __global__ void spatial_response_norm_backward(
    const T* x, const T* dy, T* dx, T* crosses, int maps, int height, int width, int size,
    T alpha, T beta, T k)
{
    const int before = size / 2, after = (size - 1) / 2;
    for (int map = blockIdx.x; map < maps; map += gridDim.x) {
        const long long first = (long long)map * height * width;
        for (int i = threadIdx.x; i < height * width; i += blockDim.x) {
            const T s = k + alpha * window_sum(
                x + first, height, width, i / width, i % width, before, after, true);
            const T r = rsqrt(s), direct = dy[first + i] * negative_power(s, r, beta);
            crosses[first + i] = direct * x[first + i] * (r * r);
            dx[first + i] = direct;
        }
        __syncthreads();
        for (int i = threadIdx.x; i < height * width; i += blockDim.x)
            dx[first + i] -= 2 * alpha * beta * x[first + i] * window_sum(
                crosses + first, height, width, i / width, i % width, after, before, false);
    }
}
