typedef unsigned long long u64;

// Words 0 ... 3 of 64 bits that Philox4x64-10 makes from a counter and a key.
__device__ inline void philox(u64 counter, u64 key0, u64 key1, u64* word)
{
    word[0] = counter, word[1] = word[2] = word[3] = 0;
    for (int round = 0; round < 10; round++) {
        const u64 low0 = 0xD2E7470EE14C6C93ull * word[0], low2 = 0xCA5A826395121157ull * word[2];
        const u64 high0 = __umul64hi(0xD2E7470EE14C6C93ull, word[0]);
        const u64 high2 = __umul64hi(0xCA5A826395121157ull, word[2]);
        word[0] = high2 ^ word[1] ^ key0, word[1] = low2;
        word[2] = high0 ^ word[3] ^ key1, word[3] = low0;
        key0 += 0x9E3779B97F4A7C15ull, key1 += 0xBB67AE8584CAA73Bull;
    }
}

// y = x·m·scale and the mask m, for images (images, channels, plane) in C order that lie in memory
// as (channels, images, plane): m is numbered in C order. Without images there is one channel.
// A warp does 256 elements: every thread draws the 8 words of one counter and keeps 8 bits of them,
// then asks the others for the bits of its own 8 elements; neighboring threads have neighboring elements.
extern "C" __global__ void dropout_forward(
    const T* x, T* y, unsigned char* mask, u64 key0, u64 key1, u64 threshold, A scale,
    long long size, int images, int channels, long long plane)
{
    const int lane = threadIdx.x % 32;
    const long long step = (long long)blockDim.x * gridDim.x * 8;
    long long start = ((long long)blockIdx.x * blockDim.x + threadIdx.x - lane) * 8;
    for (; start < size; start += step) {
        u64 word[4];
        philox(start / 8 + lane + 1, key0, key1, word);  // NumPy counts before it draws
        unsigned bits = 0;
        for (int k = 0; k < 4; k++) {
            bits |= (unsigned)((word[k] & 0xffffffffull) >= threshold) << 2 * k;
            bits |= (unsigned)((word[k] >> 32) >= threshold) << (2 * k + 1);
        }
        for (int k = 0; k < 8; k++) {
            const unsigned own = __shfl_sync(0xffffffffu, bits, 4 * k + lane / 8);
            const long long i = start + 32 * k + lane;
            if (i >= size) continue;
            const bool keep = own >> lane % 8 & 1;
            long long place = i;
            if (channels > 1) {
                const Index row = Index(i) / Index(plane);
                const int image = row / channels, channel = row % channels;
                place = ((long long)channel * images + image) * plane + Index(i) % Index(plane);
            }
            y[place] = A(x[place]) * (keep ? scale : A(0));  // NaN and infinity: as on the CPU
            mask[place] = keep;
        }
    }
}

// dx = dy·m·scale; one thread an element.
extern "C" __global__ void dropout_backward(
    const T* grad, const unsigned char* mask, T* dx, A scale, long long size)
{
    FOR_EACH(i, size) dx[i] = A(grad[i]) * (mask[i] ? scale : A(0));
}
