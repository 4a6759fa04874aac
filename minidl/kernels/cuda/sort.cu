// Merge sorted runs of `width` numbers, two neighbors at a time, in rows of n: keys, and which
// element each belongs to. Of equal keys those of the left run come first.
// One thread an element. Its place in the merged run is its place in its own run plus the number of
// elements of the other run that go before it, found by halving.
extern "C" __global__ void merge_runs(
    const long long* keys, const long long* order, long long* merged_keys, long long* merged_order,
    long long rows, long long n, long long width)
{
    FOR_EACH(i, rows * n) {
        const long long row = i / n * n, here = i - row, pair = here / (2 * width) * (2 * width);
        const long long middle = min(pair + width, n), key = keys[i];
        const bool right = here >= middle;
        const long long start = right ? pair : middle;
        long long low = start, high = right ? middle : min(pair + 2 * width, n);
        while (low < high) {
            const long long half = (low + high) / 2;
            if (keys[row + half] < key || (right && keys[row + half] == key)) low = half + 1;
            else high = half;
        }
        const long long place = row + (right ? here - width : here) + low - start;
        merged_keys[place] = key;
        merged_order[place] = order[i];
    }
}
