// Images are (channels, count). Every channel is cut into `parts` runs of numbers, a block each.
// A first kernel reduces each run to a few numbers; each block of a second kernel puts those of its
// channel together, all in the same way. So the result does not depend on the order of the blocks.
#define BLOCK 256
#define FOR_EACH_OF_RUN(i) \
    for (long long i = run_start(count, parts, part) + threadIdx.x; \
         i < run_start(count, parts, part + 1); i += BLOCK)

__device__ long long run_start(long long count, int parts, int part)
{
    return min((count + parts - 1) / parts * part, count);
}

// Welford's description of some numbers: how many, their mean, and Σ (x - mean)².
struct Moments { T count, mean, squares; };

// Chan, Golub and LeVeque (1979): the moments of both together.
__device__ Moments together(Moments a, Moments b)
{
    if (b.count == 0) return a;
    const T count = a.count + b.count, share = b.count / count, delta = b.mean - a.mean;
    return {count, a.mean + delta * share, a.squares + b.squares + delta * delta * a.count * share};
}

struct Sums { T plain, normalized; };  // Σ dy and Σ dy·x̂

__device__ Sums together(Sums a, Sums b)
{
    return {a.plain + b.plain, a.normalized + b.normalized};
}

// The values of all threads of the block, put together in a tree.
template <typename V> __device__ V of_block(V own)
{
    __shared__ V all[BLOCK];
    all[threadIdx.x] = own;
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            all[threadIdx.x] = together(all[threadIdx.x], all[threadIdx.x + half]);
    }
    __syncthreads();
    return all[0];
}

// The first kernel's results for a channel, put together.
template <typename V> __device__ V of_parts(const V* found, int channel, int parts)
{
    return of_block(threadIdx.x < parts ? found[channel * parts + threadIdx.x] : V{});
}

// The mean is that of the distances from the channel's first number: an offset that all share
// must not cost digits.
extern "C" __global__ void moments(const T* x, Moments* found, long long count, int parts)
{
    const int channel = blockIdx.x / parts, part = blockIdx.x % parts;
    x += channel * count;
    const T offset = count > 0 ? x[0] : T(0);
    Moments own = {};
    #pragma unroll 4
    FOR_EACH_OF_RUN(i) {
        const T distance = x[i] - offset, delta = distance - own.mean;
        own.count += 1;
        own.mean += delta / own.count;
        own.squares += delta * (distance - own.mean);
    }
    own = of_block(own);
    if (threadIdx.x == 0) found[blockIdx.x] = own;
}

// y. The first block of a channel also keeps its mean and 1/√(var + ε) for the backward, and in
// training moves the running averages: by `momentum` or, if there are `batches`, by 1/batches.
extern "C" __global__ void normalize(
    const T* x, const T* weight, const T* bias, T* running_mean, T* running_var,
    const long long* batches, const Moments* found, T* y, T* mean, T* inverse,
    long long count, int parts, T momentum, T eps)
{
    const int channel = blockIdx.x / parts, part = blockIdx.x % parts;
    const bool first = part == 0 && threadIdx.x == 0;
    x += channel * count;
    T center, variance;
    if (found) {
        const Moments all = of_parts(found, channel, parts);
        center = count > 0 ? x[0] + all.mean : T(0);
        variance = all.squares / count;
        if (first && count > 0) {
            if (batches) momentum = T(1) / *batches;
            if (running_mean)
                running_mean[channel] += momentum * (center - running_mean[channel]);
            if (running_var) {
                const T unbiased = all.squares / max(count - 1, 1LL);
                running_var[channel] += momentum * (unbiased - running_var[channel]);
            }
        }
    } else {
        center = running_mean[channel];
        variance = running_var[channel];
    }
    const T scale = 1 / sqrt(variance + eps);
    if (first) {
        mean[channel] = center;
        inverse[channel] = scale;
    }
    const T slope = weight ? scale * weight[channel] : scale, shift = bias ? bias[channel] : T(0);
    FOR_EACH_OF_RUN(i) y[channel * count + i] = (x[i] - center) * slope + shift;
}

extern "C" __global__ void gradient_sums(
    const T* x, const T* dy, const T* mean, const T* inverse, Sums* found,
    long long count, int parts)
{
    const int channel = blockIdx.x / parts, part = blockIdx.x % parts;
    const T center = mean[channel], scale = inverse[channel];
    Sums own = {};
    #pragma unroll 4
    FOR_EACH_OF_RUN(i) {
        const long long at = channel * count + i;
        own.plain += dy[at];
        own.normalized += (x[at] - center) * scale * dy[at];
    }
    own = of_block(own);
    if (threadIdx.x == 0) found[blockIdx.x] = own;
}

// dx, which may be the memory of dy, and by the first block of a channel dγ and dβ.
extern "C" __global__ void gradients(
    const T* x, const T* dy, const T* weight, const T* mean, const T* inverse, const Sums* found,
    T* dx, T* dweight, T* dbias, long long count, int parts, bool training)
{
    const int channel = blockIdx.x / parts, part = blockIdx.x % parts;
    Sums all = {};
    if (found) {
        all = of_parts(found, channel, parts);
        if (part == 0 && threadIdx.x == 0) {
            dweight[channel] = all.normalized;
            dbias[channel] = all.plain;
        }
    }
    if (!dx) return;
    const T center = mean[channel], scale = inverse[channel];
    const T slope = weight ? scale * weight[channel] : scale;
    const T normalized = training ? scale * all.normalized / count : T(0);
    const T plain = training ? all.plain / count : T(0);
    FOR_EACH_OF_RUN(i) {
        const long long at = channel * count + i;
        // outside of training the mean does not depend on x, and x may be infinite
        const T change = training ? (x[at] - center) * normalized + plain : T(0);
        dx[at] = (dy[at] - change) * slope;
    }
}
