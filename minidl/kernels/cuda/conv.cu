// The windows of some images as columns, (groups, rows, windows): row (c, kh, kw) of column l is
// the number that entry (kh, kw) of window l reads in channel c of the group. The row after the
// last is 1, for the bias; zeros follow up to a multiple of four rows.
// One thread a window and channel: neighbors write neighboring numbers of KH·KW rows.
extern "C" __global__ void im2col(
    const T* x, T* columns, int windows, int depth, int groups, int rows, int images, int first,
    int height, int width, int out_h, int out_w, int kernel_h, int kernel_w,
    int stride_h, int stride_w, int dilation_h, int dilation_w, int top, int left)
{
    const int entries = kernel_h * kernel_w;
    FOR_EACH(i, (long long)windows * groups * (depth + 1)) {
        const int window = i % windows, channel = i / windows % (depth + 1);
        const int group = i / windows / (depth + 1);
        T* out = columns + ((long long)group * rows + channel * entries) * windows + window;
        if (channel == depth) {
            for (int row = depth * entries; row < rows; row++, out += windows)
                *out = row == depth * entries;
            continue;
        }
        const int ow = window % out_w, oh = window / out_w % out_h;
        const long long image = first + window / out_w / out_h;
        const T* plane = x
            + ((group * depth + channel) * (long long)images + image) * height * width;
        for (int kh = 0; kh < kernel_h; kh++) {
            const int h = oh * stride_h - top + kh * dilation_h;
            for (int kw = 0; kw < kernel_w; kw++, out += windows) {
                const int w = ow * stride_w - left + kw * dilation_w;
                const bool inside = h >= 0 && h < height && w >= 0 && w < width;
                *out = inside ? plane[h * width + w] : T(0);
            }
        }
    }
}

// The sum of all entries that were read from a pixel: the transpose of im2col, as a gather.
// One thread a pixel: it looks for the windows that cover it.
extern "C" __global__ void col2im(
    const T* columns, T* dx, int windows, int depth, int groups, int rows, int images, int first,
    int count, int height, int width, int out_h, int out_w, int kernel_h, int kernel_w,
    int stride_h, int stride_w, int dilation_h, int dilation_w, int top, int left)
{
    FOR_EACH(i, (long long)groups * depth * count * height * width) {
        const int w = i % width, h = i / width % height;
        const int image = i / width / height % count, channel = i / width / height / count;
        const long long row = channel / depth * rows + channel % depth * kernel_h * kernel_w;
        const T* entry = columns + row * windows + (long long)image * out_h * out_w;
        A sum = 0;
        for (int kh = 0; kh < kernel_h; kh++) {
            const int down = h + top - kh * dilation_h, oh = down / stride_h;
            for (int kw = 0; kw < kernel_w; kw++, entry += windows) {
                const int right = w + left - kw * dilation_w, ow = right / stride_w;
                if (down >= 0 && right >= 0 && oh < out_h && ow < out_w
                    && oh * stride_h == down && ow * stride_w == right)
                    sum += entry[oh * out_w + ow];
            }
        }
        dx[((channel * (long long)images + first + image) * height + h) * width + w] = sum;
    }
}

// Weights (O, length) and a bias as (O, rows): the bias in column `length`, then zeros.
extern "C" __global__ void pack(
    const T* weight, const T* bias, T* packed, int kernels, int length, int rows, bool has_bias)
{
    FOR_EACH(i, (long long)kernels * rows) {
        const int row = i % rows, kernel = i / rows;
        T value = 0;
        if (row < length) value = weight[(long long)kernel * length + row];
        else if (row == length && has_bias) value = bias[kernel];
        packed[i] = value;
    }
}

// The inverse: gradients of weights and bias, from their partial sums (parts, O, rows).
extern "C" __global__ void unpack(
    const A* packed, A* dweight, A* dbias, int parts, int kernels, int length, int rows)
{
    FOR_EACH(i, (long long)kernels * (length + 1)) {
        const int row = i % (length + 1), kernel = i / (length + 1);
        const A* own = packed + (long long)kernel * rows + row;
        A value = *own;
        for (int part = 1; part < parts; part++) value += own[(long long)part * kernels * rows];
        if (row < length) dweight[(long long)kernel * length + row] = value;
        else dbias[kernel] = value;
    }
}
