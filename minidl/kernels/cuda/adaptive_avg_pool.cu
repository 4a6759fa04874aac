// Bin o of `bins` covers the pixels from floor(o·size / bins) to ceil((o + 1)·size / bins).
__device__ int bin_start(int o, int size, int bins) { return (long long)o * size / bins; }
__device__ int bin_end(int o, int size, int bins)
{
    return ((o + 1LL) * size + bins - 1) / bins;
}

// One thread a bin: the mean of its numbers, row by row.
extern "C" __global__ void adaptive_forward(
    const T* x, T* y, int planes, int height, int width, int out_h, int out_w)
{
    FOR_EACH(i, (long long)planes * out_h * out_w) {
        const Index row = i / out_w, plane = row / out_h;
        const int oh = row - plane * out_h, ow = i - row * out_w;
        const int top = bin_start(oh, height, out_h), bottom = bin_end(oh, height, out_h);
        const int left = bin_start(ow, width, out_w), right = bin_end(ow, width, out_w);
        const T* image = x + plane * height * width;
        T sum = 0;
        for (int h = top; h < bottom; h++) {
            T across = 0;
            for (int w = left; w < right; w++) across += image[h * width + w];
            sum += across;
        }
        y[i] = sum / (T(bottom - top) * (right - left));
    }
}

// One thread a pixel: its shares of the gradients of the bins that cover it. Those are the bins
// with o·size / bins < h + 1 and h < (o + 1)·size / bins.
extern "C" __global__ void adaptive_backward(
    const T* dy, T* dx, int planes, int height, int width, int out_h, int out_w)
{
    FOR_EACH(i, (long long)planes * height * width) {
        const Index row = i / width, plane = row / height;
        const long long h = row - plane * height, w = i - row * width;
        const int end_h = ((h + 1) * out_h - 1) / height + 1;
        const int end_w = ((w + 1) * out_w - 1) / width + 1;
        const T* bins = dy + plane * out_h * out_w;
        T sum = 0;
        for (int oh = h * out_h / height; oh < end_h; oh++) {
            const int rows = bin_end(oh, height, out_h) - bin_start(oh, height, out_h);
            T across = 0;
            for (int ow = w * out_w / width; ow < end_w; ow++) {
                const int columns = bin_end(ow, width, out_w) - bin_start(ow, width, out_w);
                across += bins[oh * out_w + ow] / columns;
            }
            sum += across / rows;
        }
        dx[i] = sum;
    }
}
