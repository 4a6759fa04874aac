// One thread an element of memory, whatever the order of its axes.

extern "C" __global__ void tanh_forward(const T* x, T* y, long long size)
{
    FOR_EACH(i, size) y[i] = tanh(x[i]);
}

extern "C" __global__ void tanh_backward(const T* y, const T* grad, T* dx, long long size)
{
    FOR_EACH(i, size) dx[i] = grad[i] * (1 - y[i] * y[i]);
}
