// One thread an element of memory, whatever the order of its axes.

extern "C" __global__ void relu_forward(const T* x, T* y, long long size)
{
    FOR_EACH(i, size) y[i] = x[i] < 0 ? T(0) : x[i];  // NaN stays
}

extern "C" __global__ void relu_backward(const T* y, const T* grad, T* dx, long long size)
{
    FOR_EACH(i, size) dx[i] = y[i] > 0 ? grad[i] : T(0);
}
