/* The audio's keys and values in bytes, as steps read them: what rounded_audio.py does by PyTorch's
 * operations.
 *
 * Shapes: B windows, H heads of K channels, a multiple of LANES, S positions, the keys in P parts of S / P. A
 * row has a scale and its least number behind its bytes.
 */
#include <omp.h>
#include <stdint.h>
#include <string.h>

#include "heads.h"
#include "vectors.h"

#define MOST 255
#define TINY 1e-8f /* added to a row's range, as PyTorch does */
#define SCALE_BYTES 8

/* A head's numbers, float32 or bfloat16, and what they are multiplied by. */
typedef struct {
    const void *numbers;
    int64_t stride;
    int32_t is_narrow;
    float factor;
} Source;

static Source source_of(const Heads *heads, int32_t is_narrow, int64_t row, int64_t head, float factor) {
    int64_t bytes = start_of_head(heads, row, head) * (is_narrow ? 2 : 4);
    return (Source){(const char *)heads->numbers + bytes, heads->position_stride, is_narrow, factor};
}

static inline Floats take(Source from, int64_t position, int64_t channel) {
    int64_t place = position * from.stride + channel;
    if (from.is_narrow) return of_narrow((const uint16_t *)from.numbers + place) * from.factor;
    return load((const float *)from.numbers + place) * from.factor;
}

static inline void put_scale(uint8_t *behind, float range, float least) {
    float scale = range / MOST;
    memcpy(behind, &scale, sizeof scale);
    memcpy(behind + sizeof scale, &least, sizeof least);
}

/* Values [B, H, S, K] to [B, H, S, K + 8]. */
void tympan_round_values(const Heads *values, int32_t is_narrow, int64_t n_rows, int64_t n_heads,
                         int64_t n_positions, int64_t n_channels, uint8_t *to, int32_t n_threads) {
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t item = 0; item < n_rows * n_heads; item++) {
        Source from = source_of(values, is_narrow, item / n_heads, item % n_heads, 1.0f);
        for (int64_t position = 0; position < n_positions; position++) {
            uint8_t *row = to + (item * n_positions + position) * (n_channels + SCALE_BYTES);
            Floats lowest = take(from, position, 0), highest = lowest;
            for (int64_t i = LANES; i < n_channels; i += LANES) {
                lowest = smaller(lowest, take(from, position, i));
                highest = larger(highest, take(from, position, i));
            }
            float least = smallest(lowest), range = largest(highest) - least, factor = MOST / (range + TINY);
            for (int64_t i = 0; i < n_channels; i += LANES)
                store_bytes(row + i, (take(from, position, i) - least) * factor, 0, MOST);
            put_scale(row + n_channels, range, least);
        }
    }
}

/* LANES channels of `n` keys, each a row of n bytes; `bytes` has room for n * LANES of them. */
static void round_channels(Source from, int64_t first, int64_t channel, int64_t n, uint8_t *bytes,
                           uint8_t *to) {
    Floats lowest = take(from, first, channel), highest = lowest;
    for (int64_t i = 1; i < n; i++) {
        lowest = smaller(lowest, take(from, first + i, channel));
        highest = larger(highest, take(from, first + i, channel));
    }
    Floats range = highest - lowest, factor = MOST / (range + TINY);
    for (int64_t i = 0; i < n; i++)
        store_bytes(bytes + i * LANES, (take(from, first + i, channel) - lowest) * factor, 0, MOST);
    float ranges[LANES], least[LANES];
    store(ranges, range);
    store(least, lowest);
    for (int64_t lane = 0; lane < LANES; lane++) {
        uint8_t *row = to + (channel + lane) * (n + SCALE_BYTES);
        for (int64_t i = 0; i < n; i++) row[i] = bytes[i * LANES + lane];
        put_scale(row + n, ranges[lane], least[lane]);
    }
}

/* Keys [B, H, S, K] times `factor` to [B, H, P, K, S / P + 8]. `memory` has S / P * LANES bytes for each
 * thread. */
void tympan_round_keys(const Heads *keys, int32_t is_narrow, int64_t n_rows, int64_t n_heads, int64_t n_parts,
                       int64_t n_in_part, int64_t n_channels, float factor, uint8_t *to, uint8_t *memory,
                       int32_t n_threads) {
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t item = 0; item < n_rows * n_heads * n_parts; item++) {
        int64_t table = item / n_parts, first = item % n_parts * n_in_part;
        Source from = source_of(keys, is_narrow, table / n_heads, table % n_heads, factor);
        uint8_t *bytes = memory + omp_get_thread_num() * n_in_part * LANES;
        for (int64_t channel = 0; channel < n_channels; channel += LANES)
            round_channels(from, first, channel, n_in_part, bytes,
                           to + item * n_channels * (n_in_part + SCALE_BYTES));
    }
}
