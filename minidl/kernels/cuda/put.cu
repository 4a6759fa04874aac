// Put values into elements of x. `place` holds the elements' numbers, sorted, and `order` which
// value belongs to each. A run of one number is one element's.
// One thread a value; that of the first in a run does the whole run, in its order.
// (A macro, because the source is compiled for one T, and integers are wanted beside it.)
#define PUT(name, Number)                                                                      \
    extern "C" __global__ void name(                                                           \
        Number* x, const Number* values, const long long* place, const long long* order,       \
        long long n, bool add)                                                                 \
    {                                                                                          \
        FOR_EACH(i, n) {                                                                       \
            const long long here = place[i];                                                   \
            if (i > 0 && place[i - 1] == here) continue;                                       \
            Number result = x[here];                                                           \
            for (long long j = i; j < n && place[j] == here; j++)                              \
                result = add ? result + values[order[j]] : values[order[j]];                   \
            x[here] = result;                                                                  \
        }                                                                                      \
    }
PUT(put, T)
PUT(put_integers, long long)
