#include "rows.cuh"

// e^x_i / Σ_j e^x_j, or its logarithm.
extern "C" __global__ void softmax_forward(
    const T* x, T* y, long long rows, long long length, long long inner, int lanes, bool logarithm)
{
    FOR_EACH(i, rows * lanes) {
        const long long row = i / lanes, start = row / inner * length * inner + row % inner;
        const long long first = i % lanes;
        T largest = MINUS_INFINITY;
        for (long long j = first; j < length; j += lanes)
            largest = max(largest, x[start + j * inner]);
        largest = largest_of(largest, lanes);
        T sum = 0;
        for (long long j = first; j < length; j += lanes)
            sum += exp(x[start + j * inner] - largest);
        sum = sum_of(sum, lanes);
        const T log_sum = log(sum);
        for (long long j = first; j < length; j += lanes) {
            const T shifted = x[start + j * inner] - largest;
            y[start + j * inner] = logarithm ? shifted - log_sum : exp(shifted) / sum;
        }
    }
}

// y_i·(dy_i - Σ_j dy_j·y_j), or of the logarithm dy_i - e^y_i·Σ_j dy_j.
extern "C" __global__ void softmax_backward(
    const T* y, const T* grad, T* dx, long long rows, long long length, long long inner, int lanes,
    bool logarithm)
{
    FOR_EACH(i, rows * lanes) {
        const long long row = i / lanes, start = row / inner * length * inner + row % inner;
        const long long first = i % lanes;
        T sum = 0;
        for (long long j = first; j < length; j += lanes) {
            const long long k = start + j * inner;
            sum += logarithm ? grad[k] : grad[k] * y[k];
        }
        sum = sum_of(sum, lanes);
        for (long long j = first; j < length; j += lanes) {
            const long long k = start + j * inner;
            dx[k] = logarithm ? grad[k] - exp(y[k]) * sum : y[k] * (grad[k] - sum);
        }
    }
}
