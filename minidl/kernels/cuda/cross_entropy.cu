#include "losses.cuh"
#include "rows.cuh"

// What a row leaves for the sums and for the backward, each an array of all rows.
struct Rows { T *loss, *weight, *largest, *log_sum, *q_sum; };

__device__ inline Rows rows_at(T* memory, long long rows)
{
    Rows result = {memory, memory + rows, memory + 2 * rows, memory + 3 * rows, memory + 4 * rows};
    return result;
}

// q of a class: see nn/cross_entropy.py. `label` is the row's, or `probability` this class's.
__device__ inline T q_of(
    long long c, bool of_label, long long label, T probability, const T* weight, T kept, T spread)
{
    const T w = weight ? weight[c] : T(1);
    return w * (spread + kept * (of_label ? T(c == label) : probability));
}

// One row: its loss, its weight in the mean, and what its gradient needs. See rows.cuh for who
// works on a row. `target` or `probability` is null, and so may `weight` be.
extern "C" __global__ void cross_entropy_forward(
    const T* x, const long long* target, const T* probability, const T* weight, T* memory,
    long long rows, long long length, long long inner, int lanes, long long ignore_index, T kept,
    T spread)
{
    const Rows out = rows_at(memory, rows);
    FOR_EACH(i, rows * lanes) {
        const long long row = i / lanes, start = row / inner * length * inner + row % inner;
        const long long first = i % lanes;
        T largest = MINUS_INFINITY;
        for (long long c = first; c < length; c += lanes)
            largest = max(largest, x[start + c * inner]);
        largest = largest_of(largest, lanes);
        T sum = 0;
        for (long long c = first; c < length; c += lanes)
            sum += exp(x[start + c * inner] - largest);
        const T log_sum = log(sum_of(sum, lanes));

        const long long label = target ? target[row] : 0;
        const bool ignored = target && label == ignore_index;
        T loss = 0, q_sum = 0;
        for (long long c = first; c < length && !ignored; c += lanes) {
            const long long k = start + c * inner;
            const T p = probability ? probability[k] : T(0);
            const T q = q_of(c, target, label, p, weight, kept, spread);
            q_sum += q;
            if (q != 0) loss -= q * (x[k] - largest - log_sum);  // 0·(-inf) is no loss
        }
        loss = sum_of(loss, lanes);
        q_sum = sum_of(q_sum, lanes);
        if (first != 0) continue;
        T own_weight = ignored ? 0 : 1;
        if (target && !ignored) {
            if (label < 0 || label >= length) {  // no such class: NaN, since an error would wait
                loss = __int_as_float(0x7fc00000);
                q_sum = loss;
            } else if (weight)
                own_weight = weight[label];
        }
        out.loss[row] = loss;
        out.weight[row] = own_weight;
        out.largest[row] = largest;
        out.log_sum[row] = log_sum;
        out.q_sum[row] = q_sum;
    }
}

// dx and, if it is not null, the gradient of class probabilities; one thread an element.
extern "C" __global__ void cross_entropy_backward(
    const T* x, const long long* target, const T* probability, const T* weight, T* memory,
    const T* grad, const T* totals, T* dx, T* dprobability, long long rows, long long length,
    long long inner, long long ignore_index, T kept, T spread, bool mean, bool each)
{
    const Rows of = rows_at(memory, rows);
    FOR_EACH(i, rows * length) {
        const long long c = i / inner % length, row = i / inner / length * inner + i % inner;
        const T reached = reaches(grad, totals, row, mean, each);
        const T log_probability = x[i] - of.largest[row] - of.log_sum[row];
        const long long label = target ? target[row] : 0;
        const T p = probability ? probability[i] : T(0);
        T q = 0;
        if (!target || label != ignore_index) q = q_of(c, target, label, p, weight, kept, spread);
        dx[i] = (exp(log_probability) * of.q_sum[row] - q) * reached;
        if (dprobability)
            dprobability[i] = -log_probability * reached * (weight ? weight[c] : T(1)) * kept;
    }
}
