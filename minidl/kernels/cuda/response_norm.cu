#include "power.cuh"
#include "epilogue.cuh"

// Images are (groups, depth, positions): the channels of a position are `positions` numbers apart.
// Every thread takes one position and one group, and goes along the channels. Neighbors read and
// write neighboring numbers, and what a window shares with the one before is still in the cache.

extern "C" __global__ void response_norm_forward(
    const T* x, T* y, int groups, int depth, long long positions, int size, A alpha, A beta, A k,
    int prologue)
{
    FOR_EACH(thread, groups * positions) {
        const long long group = thread / positions;
        const long long first = group * depth * positions + thread % positions;
        for (int i = 0; i < depth; i++) {
            const int end = min(i + (size - 1) / 2 + 1, depth);
            A sum = 0;
            for (int j = max(i - size / 2, 0); j < end; j++) {
                const A value = activate(x[first + j * positions], prologue);
                sum += value * value;
            }
            const A s = k + alpha * sum;
            const long long own = first + i * positions;
            y[own] = activate(x[own], prologue) * negative_power(s, rsqrt(s), beta);
        }
    }
}

// dx_j needs Σ cross_i with cross_i = g_i·x_i·s_i^(-β) / s_i over the windows that contain j, the
// last of which is i = j + SIZE/2: so it is written that many steps after g_j was read. Between,
// everything stays in registers: all loops over a window are unrolled, and each number of x and dy
// is read once. dx may be the memory of dy.
template <int SIZE>
__device__ void backward_of(
    const T* x, const T* dy, T* dx, int groups, int depth, long long positions,
    A alpha, A beta, A k, int prologue)
{
    const int before = SIZE / 2, after = (SIZE - 1) / 2;
    FOR_EACH(thread, groups * positions) {
        const long long group = thread / positions;
        const long long first = group * depth * positions + thread % positions;
        A values[SIZE] = {};          // x of channels i - before ... i + after
        A crosses[SIZE] = {};         // cross of channels i - SIZE + 1 ... i
        A directs[before + 1] = {};   // g·s^(-β) of channels i - before ... i
        for (int i = -after; i < depth + before; i++) {
            #pragma unroll
            for (int w = 1; w < SIZE; w++) {
                values[w - 1] = values[w];
                crosses[w - 1] = crosses[w];
            }
            #pragma unroll
            for (int w = 1; w <= before; w++) directs[w - 1] = directs[w];
            values[SIZE - 1] = i + after < depth
                ? activate(x[first + (i + after) * positions], prologue) : A(0);
            A direct = 0, cross = 0;
            if (i >= 0 && i < depth) {
                A sum = 0;
                #pragma unroll
                for (int w = 0; w < SIZE; w++) sum += values[w] * values[w];
                const A s = k + alpha * sum, r = rsqrt(s);
                direct = A(dy[first + i * positions]) * negative_power(s, r, beta);
                cross = direct * values[before] * (r * r);
            }
            directs[before] = direct;
            crosses[SIZE - 1] = cross;
            if (i >= before) {
                A sum = 0;
                #pragma unroll
                for (int w = 0; w < SIZE; w++) sum += crosses[w];
                const A own = directs[0] - 2 * alpha * beta * values[0] * sum;
                dx[first + (i - before) * positions] = passes(values[0], prologue) ? own : A(0);
            }
        }
    }
}

extern "C" __global__ void response_norm_backward_5(  // the paper's size
    const T* x, const T* dy, T* dx, int groups, int depth, long long positions,
    A alpha, A beta, A k, int prologue)
{
    backward_of<5>(x, dy, dx, groups, depth, positions, alpha, beta, k, prologue);
}

// The same for any size: `crosses`, of the shape of x, takes the place of the registers, and dx
// holds g·s^(-β) until it is its turn. A thread reads nothing that another one has written.
extern "C" __global__ void response_norm_backward(
    const T* x, const T* dy, T* dx, A* crosses, int groups, int depth, long long positions,
    int size, A alpha, A beta, A k, int prologue)
{
    const int before = size / 2, after = (size - 1) / 2;
    FOR_EACH(thread, groups * positions) {
        const long long group = thread / positions;
        const long long first = group * depth * positions + thread % positions;
        for (int i = 0; i < depth + before; i++) {
            if (i < depth) {
                const int end = min(i + after + 1, depth);
                A sum = 0;
                for (int j = max(i - before, 0); j < end; j++) {
                    const A value = activate(x[first + j * positions], prologue);
                    sum += value * value;
                }
                const A s = k + alpha * sum, r = rsqrt(s);
                const long long own = first + i * positions;
                const A direct = A(dy[own]) * negative_power(s, r, beta);
                crosses[own] = direct * activate(x[own], prologue) * (r * r);
                dx[own] = direct;
            }
            const int j = i - before;
            if (j < 0) continue;
            const int end = min(i + 1, depth);
            A sum = 0;
            for (int other = max(j - after, 0); other < end; other++)
                sum += crosses[first + other * positions];
            const long long own = first + j * positions;
            const A value = activate(x[own], prologue);
            const A direct = A(dx[own]) - 2 * alpha * beta * value * sum;
            dx[own] = passes(value, prologue) ? direct : A(0);
        }
    }
}
