#include "losses.cuh"

// -w_t·x_t and w_t; one thread a row.
extern "C" __global__ void nll_forward(
    const T* x, const long long* target, const T* weight, T* loss, T* weights, long long rows,
    long long length, long long inner, long long ignore_index)
{
    FOR_EACH(row, rows) {
        const long long label = target[row];
        const bool ignored = label == ignore_index, known = label >= 0 && label < length;
        T value = __int_as_float(0x7fc00000), own_weight = 1;  // no such class: NaN
        if (ignored) value = own_weight = 0;
        else if (known) {
            if (weight) own_weight = weight[label];
            value = -x[(row / inner * length + label) * inner + row % inner] * own_weight;
        }
        loss[row] = value;
        weights[row] = own_weight;
    }
}

// -w_t·dloss at the label, 0 elsewhere; one thread an element.
extern "C" __global__ void nll_backward(
    const long long* target, const T* weights, const T* grad, const T* totals, T* dx,
    long long rows, long long length, long long inner, long long ignore_index, bool mean, bool each)
{
    FOR_EACH(i, rows * length) {
        const long long c = i / inner % length, row = i / inner / length * inner + i % inner;
        const bool counts = c == target[row] && c != ignore_index;
        dx[i] = counts ? -reaches(grad, totals, row, mean, each) * weights[row] : T(0);
    }
}
