// The numbers of one window's entry, out of images whose memory is (C, N, H, W).
// One thread a number of the columns (N, C, KH, KW, OH, OW): neighbors read neighboring windows.
extern "C" __global__ void im2col(
    const T* x, T* columns, int images, int channels, int height, int width, int kernel_h,
    int kernel_w, int out_h, int out_w, int stride_h, int stride_w, int dilation_h,
    int dilation_w, int top, int left)
{
    const int windows = out_h * out_w, entries = kernel_h * kernel_w;
    FOR_EACH(i, (long long)images * channels * entries * windows) {
        const int window = i % windows, entry = i / windows % entries;
        const int plane = i / windows / entries, image = plane / channels;
        const int h = window / out_w * stride_h - top + entry / kernel_w * dilation_h;
        const int w = window % out_w * stride_w - left + entry % kernel_w * dilation_w;
        const bool inside = h >= 0 && h < height && w >= 0 && w < width;
        const long long from = (long long)(plane % channels) * images + image;
        columns[i] = inside ? x[(from * height + h) * width + w] : T(0);
    }
}

// The sum of all entries that were read from a pixel: a gather, so that the order is fixed.
// One thread a pixel (C, N, H, W): for each entry it looks for the window that has it there.
extern "C" __global__ void col2im(
    const T* columns, T* x, int images, int channels, int height, int width, int kernel_h,
    int kernel_w, int out_h, int out_w, int stride_h, int stride_w, int dilation_h,
    int dilation_w, int top, int left)
{
    const int windows = out_h * out_w;
    FOR_EACH(i, (long long)images * channels * height * width) {
        const int w = i % width, h = i / width % height;
        const int plane = i / width / height, image = plane % images, channel = plane / images;
        const T* entry = columns
            + ((long long)image * channels + channel) * kernel_h * kernel_w * windows;
        T sum = 0;
        for (int kh = 0; kh < kernel_h; kh++) {
            const int down = h + top - kh * dilation_h, oh = down / stride_h;
            for (int kw = 0; kw < kernel_w; kw++, entry += windows) {
                const int right = w + left - kw * dilation_w, ow = right / stride_w;
                if (down >= 0 && right >= 0 && oh < out_h && ow < out_w
                    && oh * stride_h == down && ow * stride_w == right)
                    sum += entry[oh * out_w + ow];
            }
        }
        x[i] = sum;
    }
}
