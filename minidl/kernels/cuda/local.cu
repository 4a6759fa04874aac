// Images are (C, N, H, W) in memory; windows are numbered l, and entry k of one is (c, kh, kw).

// The windows as columns (L, K, N), or as rows (L, N, K): one thread a number, neighbors
// neighbors of the result.
extern "C" __global__ void windows(
    const T* x, T* result, long long size, int length, int images, bool as_rows, int height,
    int width, int out_w, int kernel_h, int kernel_w, int stride_h, int stride_w, int top, int left)
{
    FOR_EACH(i, size) {
        const long long l = i / images / length;
        const int n = as_rows ? i / length % images : i % images;
        const int k = as_rows ? i % length : i / images % length;
        const int kw = k % kernel_w, kh = k / kernel_w % kernel_h, c = k / kernel_w / kernel_h;
        const int h = (int)(l / out_w) * stride_h - top + kh;
        const int w = (int)(l % out_w) * stride_w - left + kw;
        const bool inside = h >= 0 && h < height && w >= 0 && w < width;
        result[i] = inside ? x[(((long long)c * images + n) * height + h) * width + w] : T(0);
    }
}

// The sum of all entries of rows (L, N, K) that were read from a pixel; one thread a pixel.
extern "C" __global__ void pixels(
    const T* rows, T* dx, long long size, int length, int images, int height, int width, int out_h,
    int out_w, int kernel_h, int kernel_w, int stride_h, int stride_w, int top, int left)
{
    FOR_EACH(i, size) {
        const int w = i % width, h = i / width % height, n = i / width / height % images;
        const int c = i / width / height / images;
        T sum = 0;
        for (int kh = 0; kh < kernel_h; kh++) {
            const int down = h + top - kh, oh = down / stride_h;
            if (down < 0 || oh >= out_h || oh * stride_h != down) continue;
            for (int kw = 0; kw < kernel_w; kw++) {
                const int right = w + left - kw, ow = right / stride_w;
                if (right < 0 || ow >= out_w || ow * stride_w != right) continue;
                const long long l = (long long)oh * out_w + ow;
                sum += rows[(l * images + n) * length + (c * kernel_h + kh) * kernel_w + kw];
            }
        }
        dx[i] = sum;
    }
}

// Products (L, O, N), and biases (O, L) if they are not null, as images (O, N, L).
extern "C" __global__ void to_images(
    const T* products, const T* bias, T* y, long long size, int maps, int images, int positions)
{
    FOR_EACH(i, size) {
        const int l = i % positions, n = i / positions % images, o = i / positions / images;
        const T value = products[((long long)l * maps + o) * images + n];
        y[i] = bias ? value + bias[(long long)o * positions + l] : value;
    }
}

// The way back, images (O, N, L) as (L, O, N) or (L, N, O); one thread a number of the result.
extern "C" __global__ void from_images(
    const T* y, T* result, long long size, int maps, int images, int positions, bool maps_last)
{
    FOR_EACH(i, size) {
        const int l = i / maps / images;
        const int o = maps_last ? i % maps : i / images % maps;
        const int n = maps_last ? i / maps % images : i % images;
        result[i] = y[((long long)o * images + n) * positions + l];
    }
}

// Σ_n dy[o,n,l]; one thread a position of a map.
extern "C" __global__ void sum_images(
    const T* dy, T* sums, long long size, int images, int positions)
{
    FOR_EACH(i, size) {
        const T* own = dy + i / positions * images * positions + i % positions;
        T sum = 0;
        for (int n = 0; n < images; n++) sum += own[(long long)n * positions];
        sums[i] = sum;
    }
}
