#include "losses.cuh"

// (x - t)², one thread an element; or, one of them a block, sums of some of them.
extern "C" __global__ void mse_forward(
    const T* x, const T* t, T* out, long long size, bool each)
{
    T sum = 0;
    FOR_EACH(i, size) {
        const T difference = x[i] - t[i];
        if (each) out[i] = difference * difference;
        sum += difference * difference;
    }
    if (each) return;
    sum = block_sum(sum);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// dx = 2 (x - t) dloss and, if it is not null, dt = -dx; one thread an element.
extern "C" __global__ void mse_backward(
    const T* x, const T* t, const T* grad, T* dx, T* dt, long long size, T divisor, bool each)
{
    FOR_EACH(i, size) {
        const T slope = 2 * (x[i] - t[i]) * (grad[each ? i : 0] / divisor);
        dx[i] = slope;
        if (dt) dt[i] = -slope;
    }
}
