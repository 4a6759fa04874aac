// What all losses share: their sum or mean, and the gradient that reaches each.

// The block's sum of `value`, in a fixed order, for thread 0 of 256.
__device__ inline T block_sum(T value)
{
    __shared__ T partial[256];
    partial[threadIdx.x] = value;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    }
    const T sum = partial[0];
    __syncthreads();  // the next sum uses the same memory
    return sum;
}

// totals = {the sum of the losses, or their mean; the mean's divisor: the sum of the weights, or
// `divisor` if they are null}. One block.
extern "C" __global__ void add_up(
    const T* losses, const T* weights, T* totals, long long rows, T divisor, bool mean)
{
    T loss = 0, weight = 0;
    for (long long row = threadIdx.x; row < rows; row += 256) {
        loss += losses[row];
        if (weights) weight += weights[row];
    }
    loss = block_sum(loss);
    if (weights) divisor = block_sum(weight);
    if (threadIdx.x == 0) {
        totals[0] = mean ? loss / divisor : loss;
        totals[1] = divisor;
    }
}

// The gradient that reaches a row's loss: that of the mean, of the sum or its own.
__device__ inline T reaches(const T* grad, const T* totals, long long row, bool mean, bool each)
{
    const T own = grad[each ? row : 0];
    if (mean && totals[1] == T(0)) return T(0);  // nothing counts, nothing changes
    return mean ? own / totals[1] : own;
}
