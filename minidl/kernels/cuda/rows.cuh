// Rows along an axis of an array (outer, length, inner): row r is (r / inner, all, r % inner).
// A row along the last axis has a warp (lanes = 32), so that neighbors read neighbors; along
// another axis it has one thread (lanes = 1), and the next thread's row lies beside it.

#define MINUS_INFINITY T(__int_as_float(0xff800000))

__device__ inline T largest_of(T value, int lanes)
{
    for (int apart = lanes / 2; apart > 0; apart /= 2)
        value = max(value, __shfl_xor_sync(0xffffffffu, value, apart));
    return value;
}

__device__ inline T sum_of(T value, int lanes)
{
    for (int apart = lanes / 2; apart > 0; apart /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, apart);
    return value;
}
