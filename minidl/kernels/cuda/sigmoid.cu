// One thread an element of memory, whatever the order of its axes.

extern "C" __global__ void sigmoid_forward(const T* x, T* y, long long size)
{
    FOR_EACH(i, size) {
        const T small = exp(-abs(x[i]));
        y[i] = (x[i] >= 0 ? T(1) : small) / (1 + small);
    }
}

extern "C" __global__ void sigmoid_backward(const T* y, const T* grad, T* dx, long long size)
{
    FOR_EACH(i, size) dx[i] = grad[i] * y[i] * (1 - y[i]);
}
