/* Attention of float32 queries to all of the keys and values, rounded to int16, for AVX2 and AVX512: products
 * in pairs, which are summed in 32 bits, take three quarters of the time of float32's, or little more than
 * half where one instruction does both.
 *
 * Shapes: N rows, H heads of 64 channels, as in every Whisper, T queries, S positions. A block of queries
 * sees the positions in chunks, whose scores the nearest cache holds, and takes off the largest score so far
 * as it goes (Dao et al. 2022, "FlashAttention").
 *
 * No sum overflows: a query and a key are at most 2^15 long, so that a score is at most 2^30; and shares are
 * at most 2^14 and values 2^11, so that 64 of their products make 2^31 at most, and less since values stop
 * short.
 */
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

#include "heads.h"
#include "vectors.h"

#define WIDTH 64                   /* channels of a head */
#define PAIRS (WIDTH / 2)          /* of channels */
#define VECTORS BY_REGISTERS(4, 2) /* of keys, or of channels, that a product has side by side */
#define SIDE (VECTORS * LANES)     /* numbers in them */
#define AT_ONCE 6                  /* queries whose sums are in registers */
#define QUERIES (4 * AT_ONCE)      /* of a block */
#define CHUNK 256                  /* positions */
/* From one query's to the next one's, which so lie in other sets of a cache. */
#define SCORES (CHUNK + LANES)
#define SHARES (CHUNK + 2 * LANES)
#define IN_A_SUM 64 /* positions whose values are summed in 32 bits */
#define LONGEST 32767.0f
#define LARGEST_VALUE 2047.0f
#define SHARE_BITS 14 /* of the largest one */
#define NEVER -1e30f  /* the largest score of none */
/* Left to itself, GCC has more products under way than there are registers. */
#define IN_THIS_ORDER(sum) __asm__ volatile("" : "+v"(sum))
#define EACH_SUM                                                    \
    _Pragma("GCC unroll 6") for (int row = 0; row < AT_ONCE; row++) \
        _Pragma("GCC unroll 4") for (int i = 0; i < VECTORS; i++)

static inline float length(const float *numbers) {
    Floats squares = all(0.0f);
    for (int64_t i = 0; i < WIDTH; i += LANES) squares += load(numbers + i) * load(numbers + i);
    return sqrtf(sum(squares));
}

/* The 64 channels of a position, times a factor, in pairs of int16. */
static inline void round_channels(const float *numbers, float factor, int32_t *pairs) {
    for (int64_t i = 0; i < WIDTH; i += LANES)
        store_shorts((int16_t *)pairs + i, nearest_ints(load(numbers + i) * factor));
}

/* A head's keys as pairs of channels [S / SIDE, 32, SIDE] and its values as pairs of positions
 * [64 / SIDE, S / 2, SIDE], zeros behind the last position; what a step between two numbers of them means. */
typedef struct {
    int32_t *keys, *values;
    float *key_step, *value_steps;
} Packed;

static void pack_keys(const float *keys, int64_t stride, int64_t n_keys, int64_t n_padded, Packed to) {
    float longest = 1e-30f;
    for (int64_t key = 0; key < n_keys; key++) longest = fmaxf(longest, length(keys + key * stride));
    float factor = LONGEST / longest;
    *to.key_step = 1.0f / factor;
    memset(to.keys, 0, n_padded * PAIRS * sizeof *to.keys);
    for (int64_t key = 0; key < n_keys; key++) {
        int32_t *place = to.keys + key / SIDE * SIDE * PAIRS + key % SIDE, pairs[PAIRS];
        round_channels(keys + key * stride, factor, pairs);
        for (int64_t pair = 0; pair < PAIRS; pair++) place[pair * SIDE] = pairs[pair];
    }
}

static void pack_values(const float *values, int64_t stride, int64_t n_keys, int64_t n_padded, Packed to) {
    for (int64_t channel = 0; channel < WIDTH; channel += LANES) {
        Floats most = all(1e-30f);
        for (int64_t key = 0; key < n_keys; key++)
            most = larger(most, size(load(values + key * stride + channel)));
        Floats factors = LARGEST_VALUE / most;
        store(to.value_steps + channel, 1.0f / factors);
        int32_t *place = to.values + channel / SIDE * SIDE * (n_padded / 2) + channel % SIDE;
        for (int64_t key = 0; key < n_padded; key += 2) {
            Floats first = all(0.0f), second = all(0.0f);
            if (key < n_keys) first = load(values + key * stride + channel) * factors;
            if (key + 1 < n_keys) second = load(values + (key + 1) * stride + channel) * factors;
            store_ints(place + key / 2 * SIDE, pairs_of(first, second));
        }
    }
}

/* What a thread keeps while it looks at a block of queries. */
typedef struct {
    float heard[QUERIES * WIDTH], largest[QUERIES], sums[QUERIES], steps[QUERIES];
    int32_t asked[QUERIES * PAIRS], scores[QUERIES * SCORES];
    int16_t shares[QUERIES * SHARES];
} Room;

/* For six rows of pairs, so many pairs apart: the sums of `n` of their pairs, each times the SIDE pairs
 * there. */
static inline __attribute__((always_inline)) void sum_products(const int32_t *rows, int64_t stride,
                                                               const int32_t *pairs, int64_t n,
                                                               Ints sums[AT_ONCE][VECTORS]) {
    EACH_SUM
        sums[row][i] = no_ints();
    for (int64_t place = 0; place < n; place++) {
        Ints here[VECTORS];
        _Pragma("GCC unroll 4") for (int i = 0; i < VECTORS; i++) here[i] =
            load_ints(pairs + place * SIDE + i * LANES);
        _Pragma("GCC unroll 6") for (int row = 0; row < AT_ONCE; row++) {
            Ints both = all_ints(rows[row * stride + place]);
            _Pragma("GCC unroll 4") for (int i = 0; i < VECTORS; i++) {
                sums[row][i] = add_pairs(sums[row][i], both, here[i]);
                IN_THIS_ORDER(sums[row][i]);
            }
        }
    }
}

/* Scores of six queries at SIDE keys. */
static void score(const int32_t *asked, const int32_t *keys, int32_t *scores) {
    Ints sums[AT_ONCE][VECTORS];
    sum_products(asked, PAIRS, keys, PAIRS, sums);
    EACH_SUM
        store_ints(scores + row * SCORES + i * LANES, sums[row][i]);
}

/* What six queries hear of `n_keys` positions in SIDE channels, added to what they have heard. */
static void hear(const int16_t *shares, const int32_t *values, int64_t n_keys, float *heard) {
    for (int64_t key = 0; key < n_keys; key += IN_A_SUM) {
        int64_t n_here = n_keys - key < IN_A_SUM ? n_keys - key : IN_A_SUM;
        Ints sums[AT_ONCE][VECTORS];
        sum_products((const int32_t *)(shares + key), SHARES / 2, values + key / 2 * SIDE, n_here / 2, sums);
        EACH_SUM {
            float *place = heard + row * WIDTH + i * LANES;
            store(place, load(place) + of_ints(sums[row][i]));
        }
    }
}

/* 2 to the power of numbers from -20 to 15, off by a ten thousandth of itself, as whole numbers. */
static inline Ints whole_powers(Floats powers) {
    Floats to_whole = powers + 12582912.0f; /* 1.5 * 2^23, behind which there are no fractions */
    Floats rest = powers - (to_whole - 12582912.0f);
    Floats series = rest * 0.0558382829f + 0.242639479f; /* Chebyshev's, from -1/2 to 1/2 */
    series = series * rest + 0.693136734f;
    series = series * rest + 0.999924557f;
    return nearest_ints(times_power(series, to_whole));
}

/* Shares of one query of a chunk's positions, of which the first `n_keys` count, not yet divided by their
 * sum. What it heard before is brought down where a score is larger than all before it. */
static inline void share(Room *room, int64_t query, int64_t n_keys, int64_t n_padded) {
    int32_t *scores = room->scores + query * SCORES;
    int16_t *shares = room->shares + query * SHARES;
    float *heard = room->heard + query * WIDTH, step = room->steps[query];
    for (int64_t key = n_keys; key < n_padded; key++) scores[key] = INT32_MIN;
    Ints most = load_ints(scores), other = load_ints(scores + LANES);
    for (int64_t key = 2 * LANES; key < n_padded; key += 2 * LANES) {
        most = larger_ints(most, load_ints(scores + key));
        other = larger_ints(other, load_ints(scores + key + LANES));
    }
    float top = largest(of_ints(larger_ints(most, other))) * step; /* a power of two */
    if (top > room->largest[query]) {
        float smaller = exp2f(room->largest[query] - top);
        room->sums[query] *= smaller;
        for (int64_t channel = 0; channel < WIDTH; channel += LANES)
            store(heard + channel, load(heard + channel) * smaller);
        room->largest[query] = top;
    }
    float shift = SHARE_BITS - room->largest[query];
    Ints total = no_ints();
    for (int64_t key = 0; key < n_padded; key += LANES) {
        Ints here = whole_powers(larger(of_ints(load_ints(scores + key)) * step + shift, all(-20.0f)));
        if (n_keys - key < LANES) here = first_ints(here, n_keys - key);
        total = add_ints(total, here);
        store_shorts(shares + key, here);
    }
    room->sums[query] += sum(of_ints(total));
}

/* What `n_here` queries of a head hear. */
static void attend_block(const float *queries, int64_t query_stride, int64_t n_here, Packed packed,
                         int64_t n_keys, int64_t n_all, float factor, Room *room, float *found,
                         int64_t found_stride) {
    memset(room, 0, sizeof *room);
    for (int64_t i = 0; i < n_here; i++) {
        float to_longest = LONGEST / fmaxf(length(queries + i * query_stride), 1e-30f);
        round_channels(queries + i * query_stride, to_longest, room->asked + i * PAIRS);
        room->steps[i] = *packed.key_step / to_longest * factor;
        room->largest[i] = NEVER;
    }
    for (int64_t start = 0; start < n_keys; start += CHUNK) {
        int64_t n_now = n_keys - start < CHUNK ? n_keys - start : CHUNK;
        int64_t n_padded = (n_now + SIDE - 1) / SIDE * SIDE;
        for (int64_t key = 0; key < n_padded; key += SIDE)
            for (int64_t i = 0; i < n_here; i += AT_ONCE)
                score(room->asked + i * PAIRS, packed.keys + (start + key) * PAIRS,
                      room->scores + i * SCORES + key);
        for (int64_t i = 0; i < n_here; i++) share(room, i, n_now, n_padded);
        for (int64_t channel = 0; channel < WIDTH; channel += SIDE)
            for (int64_t i = 0; i < n_here; i += AT_ONCE)
                hear(room->shares + i * SHARES, packed.values + (channel * n_all + start * SIDE) / 2,
                     n_padded, room->heard + i * WIDTH + channel);
    }
    for (int64_t i = 0; i < n_here; i++)
        for (int64_t channel = 0; channel < WIDTH; channel += LANES)
            store(found + i * found_stride + channel, load(room->heard + i * WIDTH + channel) *
                                                          load(packed.value_steps + channel) / room->sums[i]);
}

static int64_t padded(int64_t n_keys) { return (n_keys + SIDE - 1) / SIDE * SIDE; }
static int64_t bytes_of_head(int64_t n_keys) { return 4 * (padded(n_keys) * WIDTH + 2 * WIDTH); }

/* Where the head that begins there lies. */
static Packed packed_head(char *memory, int64_t n_all) {
    float *steps = (float *)memory; /* of the values, and behind them the one of the keys */
    int32_t *keys = (int32_t *)(steps + 2 * WIDTH);
    return (Packed){keys, keys + n_all * PAIRS, steps + WIDTH, steps};
}

/* Bytes of memory that `tympan_attend_int16` wants. */
int64_t tympan_attend_int16_bytes(int64_t n_heads, int64_t n_keys, int32_t n_threads) {
    return n_heads * bytes_of_head(n_keys) + n_threads * (int64_t)sizeof(Room);
}

/* `found` of `queries` at all of `keys`, of which scores are multiplied by `factor`. */
void tympan_attend_int16(const Heads *queries, const Heads *keys, const Heads *values, const Heads *found,
                         int64_t n_rows, int64_t n_heads, int64_t n_queries, int64_t n_keys, float factor,
                         char *memory, int32_t n_threads) {
    int64_t n_blocks = (n_queries + QUERIES - 1) / QUERIES, head_bytes = bytes_of_head(n_keys);
    int64_t n_all = padded(n_keys);
    float in_powers = factor * 1.44269504f; /* of two */
#pragma omp parallel num_threads(n_threads)
    {
        Room *room = (Room *)(memory + n_heads * head_bytes) + omp_get_thread_num();
        for (int64_t row = 0; row < n_rows; row++) {
#pragma omp for schedule(static)
            for (int64_t head = 0; head < n_heads; head++) {
                Packed packed = packed_head(memory + head * head_bytes, n_all);
                pack_keys((const float *)keys->numbers + start_of_head(keys, row, head),
                          keys->position_stride, n_keys, n_all, packed);
                pack_values((const float *)values->numbers + start_of_head(values, row, head),
                            values->position_stride, n_keys, n_all, packed);
            }
#pragma omp for schedule(dynamic)
            for (int64_t item = 0; item < n_heads * n_blocks; item++) {
                int64_t head = item / n_blocks, first = item % n_blocks * QUERIES;
                attend_block((const float *)queries->numbers + start_of_head(queries, row, head) +
                                 first * queries->position_stride,
                             queries->position_stride,
                             n_queries - first < QUERIES ? n_queries - first : QUERIES,
                             packed_head(memory + head * head_bytes, n_all), n_keys, n_all, in_powers, room,
                             (float *)found->numbers + start_of_head(found, row, head) +
                                 first * found->position_stride,
                             found->position_stride);
            }
        }
    }
}
