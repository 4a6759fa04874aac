// s^(-β), given r = 1/√s. For the usual β = 0.75 that is r·√r.
__device__ T negative_power(T s, T r, T beta)
{
    return beta == T(0.75) ? r * sqrt(r) : pow(s, -beta);
}
