// s^(-β), given r = 1/√s. For the usual β = 0.75 that is r·√r.
__device__ A negative_power(A s, A r, A beta)
{
    return beta == A(0.75) ? r * sqrt(r) : pow(s, -beta);
}
