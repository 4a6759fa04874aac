// Numbers of arithmetic as numbers of memory, and back; one thread an element of memory.

extern "C" __global__ void narrow(const A* x, T* y, long long size)
{
    FOR_EACH(i, size) y[i] = x[i];
}

extern "C" __global__ void widen(const T* x, A* y, long long size)
{
    FOR_EACH(i, size) y[i] = x[i];
}
