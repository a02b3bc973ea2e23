/* Attention of float32 queries to all of the keys and values, all of it in bytes: for AVX512 with VNNI, and
 * for AVX2, with the VNNI of its own or without.
 *
 * Shapes: N rows, H heads of 64 channels, as in every Whisper, T queries, S positions. A block of queries
 * sees the positions in chunks, whose scores the nearest cache holds, and takes off the largest score so far
 * as it goes (Dao et al. 2022, "FlashAttention").
 *
 * What all keys have in common does not count in a softmax, and is taken off before they are rounded (Zhang
 * et al. 2024, "SageAttention"); what all values have in common is added to what is heard. Shares are rounded
 * to steps of the largest one in their chunk, since many small ones may weigh as much as a large one.
 *
 * Scores are kept in 16 bits, as many as a vector of bytes has room for, and so are their exponentials: as
 * fine as no score of the query leaves them, but for what is finer than 1/1024 of an octave.
 */
#include <math.h>
#include <omp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "heads.h"
#include "products.h"
#include "vectors.h"

#define WIDTH 64               /* channels of a head */
#define GROUPS (WIDTH / GROUP) /* of channels */
#define SIDE (VECTORS * LANES) /* keys, or channels, that a product has side by side */
#define UNIT (4 * LANES)       /* positions whose shares become bytes at once */
#define QUERIES 24             /* of a block */
#define CHUNK 256              /* positions */
/* From one query's to the next one's, which so lie in other sets of a cache. */
#define SCORES (CHUNK + 2 * LANES)
#define SHARES (CHUNK + 64)
#define LARGEST 127.0f                 /* of keys and values */
#define MIDDLE ((MOST_LEVELS + 1) / 2) /* the byte of a query that stands for zero */
#define NEVER -1e30f                   /* the largest score of none */
#define MOST_SCORE 32000.0f            /* in 16 bits */
#define FINEST 10                      /* bits of a fraction of an octave */

/* A head's keys as bytes [S / SIDE, 64 / 4, SIDE, 4] and its values [64 / SIDE, S / 4, SIDE, 4], zeros behind
 * the last position; bits that are set where the shares of positions lie; where the scores of a key start,
 * since the zero of queries is a byte like others, and far below where there is no key; what a step between
 * two numbers means; the length of the longest key, in steps; and the values' means. */
typedef struct {
    int8_t *keys, *values;
    uint8_t *is_there;
    int32_t *starts;
    float *key_step, *longest_key, *value_steps, *value_means;
} Packed;

static int64_t padded(int64_t n_keys) { return (n_keys + UNIT - 1) / UNIT * UNIT; }

/* Means of 64 channels, and how far numbers are from them at most. */
static void look(const float *numbers, int64_t stride, int64_t n, float *means, float *most) {
    for (int64_t channel = 0; channel < WIDTH; channel += SIDE) {
        Floats totals[VECTORS], lowest[VECTORS], highest[VECTORS];
        EACH_VECTOR {
            totals[i] = all(0.0f);
            lowest[i] = highest[i] = load(numbers + channel + i * LANES);
        }
        for (int64_t place = 0; place < n; place++)
            EACH_VECTOR {
                Floats here = load(numbers + place * stride + channel + i * LANES);
                totals[i] += here;
                lowest[i] = smaller(lowest[i], here);
                highest[i] = larger(highest[i], here);
            }
        EACH_VECTOR {
            Floats mean = totals[i] / (float)n;
            store(means + channel + i * LANES, mean);
            store(most + channel + i * LANES, larger(highest[i] - mean, mean - lowest[i]));
        }
    }
}

/* Where `as_bytes` leaves the share of this position, before those of the next three. */
static int64_t place_of_four(int64_t key) {
    int64_t unit = key / UNIT * UNIT, vector = key % UNIT / LANES, four = key % LANES / GROUP;
    return unit + (four * 4 + vector) * GROUP;
}

static void pack_keys(const float *keys, int64_t stride, int64_t n_keys, int64_t n_padded, Packed to) {
    float means[WIDTH], distances[WIDTH], largest_square = 0.0f;
    look(keys, stride, n_keys, means, distances);
    Floats most = all(1e-30f);
    for (int64_t channel = 0; channel < WIDTH; channel += LANES)
        most = larger(most, load(distances + channel));
    float factor = LARGEST / largest(most);
    *to.key_step = 1.0f / factor;
    memset(to.keys, 0, n_padded * WIDTH);
    memset(to.is_there, 0, n_padded);
    for (int64_t key = n_keys; key < n_padded; key++) to.starts[key] = INT32_MIN / 2;
    for (int64_t key = 0; key < n_keys; key++) {
        int8_t *place = to.keys + key / SIDE * SIDE * WIDTH + key % SIDE * GROUP, bytes[WIDTH];
        Ints total = no_ints();
        Floats squares = all(0.0f);
        for (int64_t channel = 0; channel < WIDTH; channel += LANES) {
            Ints whole = nearest_ints((load(keys + key * stride + channel) - load(means + channel)) * factor);
            total = add_ints(total, whole);
            squares += of_ints(whole) * of_ints(whole);
            store_signed_bytes(bytes + channel, whole);
        }
        float square = sum(squares);
        largest_square = square > largest_square ? square : largest_square;
        to.starts[key] = -MIDDLE * sum_ints(total);
        to.is_there[place_of_four(key) + key % GROUP] = 0xff;
        for (int64_t group = 0; group < GROUPS; group++)
            memcpy(place + group * SIDE * GROUP, bytes + group * GROUP, GROUP);
    }
    *to.longest_key = sqrtf(largest_square);
}

static void pack_values(const float *values, int64_t stride, int64_t n_keys, int64_t n_padded, Packed to) {
    float distances[WIDTH];
    look(values, stride, n_keys, to.value_means, distances);
    for (int64_t channel = 0; channel < WIDTH; channel += LANES)
        store(to.value_steps + channel, larger(load(distances + channel), all(1e-30f)) / LARGEST);
    for (int64_t key = 0; key < n_padded; key += GROUP)
        for (int64_t channel = 0; channel < WIDTH; channel += LANES) {
            Floats mean = load(to.value_means + channel), factors = 1.0f / load(to.value_steps + channel);
            Ints four[GROUP];
            for (int64_t i = 0; i < GROUP; i++) {
                four[i] = no_ints();
                if (key + i < n_keys)
                    four[i] = nearest_ints((load(values + (key + i) * stride + channel) - mean) * factors);
            }
            store_ints(to.values + channel / SIDE * SIDE * n_padded + channel % SIDE * GROUP +
                           place_of_four(key) * SIDE,
                       side_by_side(four));
        }
}

/* What a thread keeps while it looks at a block of queries. Of each: its scores, two vectors as
 * `as_shorts` leaves them; what a score of one means, in octaves; how often products are halved to be scores;
 * by which share of itself a score becomes a fraction of an octave, and how many bits that has. */
typedef struct {
    /* zero at first */
    float heard[QUERIES * WIDTH], sums[QUERIES * LANES];
    uint8_t asked[QUERIES * WIDTH];
    int32_t halvings[QUERIES];
    /* written before it is read */
    float largest[QUERIES], octaves[QUERIES], weights[QUERIES];
    int16_t factors[QUERIES];
    int32_t bits[QUERIES];
    int16_t scores[QUERIES * SCORES];
    uint8_t shares[QUERIES * SHARES];
} Room;

/* Scores of some queries at SIDE keys. */
static void score(const uint8_t *asked, const int8_t *keys, const int32_t *starts, const int32_t *halvings,
                  int16_t *scores) {
    Ints sums[ROWS][VECTORS];
    EACH_SUM
        sums[row][i] = load_ints(starts + i * LANES);
    sum_products(asked, WIDTH, keys, LANES * GROUP, SIDE * GROUP, GROUPS, sums);
    EACH_ROW for (int i = 0; i < VECTORS; i += 2)
        store_ints(scores + row * SCORES + i * LANES,
                   as_shorts(halved(sums[row][i], halvings[row]), halved(sums[row][i + 1], halvings[row])));
}

/* What some queries hear of `n_keys` positions in SIDE channels, by its weight added to what they have heard.
 */
static void hear(const uint8_t *shares, const int8_t *values, int64_t n_keys, const float *weights,
                 float *heard) {
    Ints sums[ROWS][VECTORS];
    EACH_SUM
        sums[row][i] = no_ints();
    sum_products(shares, SHARES, values, LANES * GROUP, SIDE * GROUP, n_keys / GROUP, sums);
    EACH_SUM {
        float *place = heard + row * WIDTH + i * LANES;
        store(place, load(place) + of_ints(sums[row][i]) * weights[row]);
    }
}

/* 2 to the power of minus `falls`, from 0 on in fractions of an octave of so many bits, off by 0.2 % of
 * itself, in steps of which the largest byte has as many. */
static inline Ints powers_below(Ints falls, int32_t bits) {
    enum { ONE = MOST_LEVELS * (1 << 15) / (MOST_LEVELS + 1) };
    Ints rest = left_shorts(falls, 15 - bits) & all_shorts(INT16_MAX);
    Ints series = shares_of_shorts(rest, all_shorts(ONE * 0.16859486f)); /* Remez's, from 0 to 1 */
    series = shares_of_shorts(rest, add_shorts(series, all_shorts(ONE * -0.666008f)));
    series = add_shorts(series, all_shorts(ONE * 0.99827543f));
    return shares_of_shorts(halved_shorts(series, right_shorts(falls, bits)), all_shorts(MOST_LEVELS + 1));
}

/* Shares of one query of a chunk's positions in steps of the chunk's largest, and what those weigh. What it
 * heard before is brought down where a score is larger than all before it. */
static inline void share(Room *room, int64_t query, int64_t n_padded, const uint8_t *is_there) {
    const int8_t ones[GROUP] = {1, 1, 1, 1};
    const int16_t *scores = room->scores + query * SCORES;
    uint8_t *shares = room->shares + query * SHARES;
    float *heard = room->heard + query * WIDTH, *sums = room->sums + query * LANES;
    Ints most = load_ints(scores), other = load_ints(scores + 2 * LANES);
    for (int64_t key = UNIT; key < n_padded; key += UNIT) {
        most = larger_shorts(most, load_ints(scores + key));
        other = larger_shorts(other, load_ints(scores + key + 2 * LANES));
    }
    int16_t top_score = largest_short(larger_shorts(most, other));
    float top = top_score * room->octaves[query];
    Floats before = load(sums), weight = all(1.0f);
    if (top > room->largest[query]) {
        Floats smaller = power_of_two(all(room->largest[query] - top));
        before *= smaller;
        for (int64_t channel = 0; channel < WIDTH; channel += LANES)
            store(heard + channel, load(heard + channel) * smaller);
        room->largest[query] = top;
    } else {
        weight = power_of_two(all(top - room->largest[query]));
    }
    Ints total = no_ints(), tops = all_shorts(top_score), factor = all_shorts(room->factors[query]);
    for (int64_t key = 0; key < n_padded; key += UNIT) {
        Ints two[2];
        _Pragma("GCC unroll 2") for (int i = 0; i < 2; i++) two[i] = powers_below(
            shares_of_shorts(less_shorts(tops, load_ints(scores + key + 2 * i * LANES)), factor),
            room->bits[query]);
        Ints here = as_bytes(two[0], two[1]) & load_ints(is_there + key);
        total = add_digit_products(total, here, ones);
        store_ints(shares + key, here);
    }
    store(sums, before + of_ints(total) * weight);
    store_first(room->weights + query, weight, 1);
}

/* Put down query `i` of a block in bytes, and how scores of it are kept: `octaves` are those of a step of the
 * query times a step of a key. */
static void ask(const float *query, float longest_key, float octaves, Room *room, int64_t i) {
    Floats most = all(1e-30f), squares = all(0.0f);
    for (int64_t channel = 0; channel < WIDTH; channel += LANES) {
        Floats numbers = load(query + channel);
        most = larger(most, size(numbers));
        squares += numbers * numbers;
    }
    float factor = (MIDDLE - 1) / largest(most), rounding = 4.0f; /* at most 1/2 in 64 channels */
    for (int64_t channel = 0; channel < WIDTH; channel += LANES)
        store_bytes(room->asked + i * WIDTH + channel, load(query + channel) * factor, MIDDLE, MOST_LEVELS);
    int finest, halvings;
    float fraction = frexpf(octaves / factor * (1 << FINEST), &finest);
    frexpf((sqrtf(sum(squares)) * factor + rounding) * longest_key / MOST_SCORE, &halvings);
    halvings = halvings > -finest ? halvings : -finest;
    halvings = halvings < 0 ? 0 : halvings > 30 ? 30 : halvings;
    int excess = halvings + finest;
    room->halvings[i] = halvings;
    room->octaves[i] = ldexpf(octaves / factor, halvings);
    room->factors[i] = fraction * INT16_MAX;
    room->bits[i] = excess < 0 ? FINEST : excess > FINEST ? 0 : FINEST - excess;
}

/* What `n_here` queries of a head hear. */
static void attend_block(const float *queries, int64_t query_stride, int64_t n_here, Packed packed,
                         int64_t n_keys, int64_t n_all, float factor, Room *room, float *found,
                         int64_t found_stride) {
    memset(room, 0, offsetof(Room, largest));
    for (int64_t i = 0; i < n_here; i++) {
        ask(queries + i * query_stride, *packed.longest_key, *packed.key_step * factor, room, i);
        room->largest[i] = NEVER;
    }
    for (int64_t start = 0; start < n_keys; start += CHUNK) {
        int64_t n_now = n_keys - start < CHUNK ? n_keys - start : CHUNK;
        int64_t n_padded = padded(n_now);
        for (int64_t key = 0; key < n_padded; key += SIDE)
            for (int64_t i = 0; i < n_here; i += ROWS)
                score(room->asked + i * WIDTH, packed.keys + (start + key) * WIDTH,
                      packed.starts + start + key, room->halvings + i, room->scores + i * SCORES + key);
        for (int64_t i = 0; i < n_here; i++) share(room, i, n_padded, packed.is_there + start);
        for (int64_t channel = 0; channel < WIDTH; channel += SIDE)
            for (int64_t i = 0; i < n_here; i += ROWS)
                hear(room->shares + i * SHARES, packed.values + channel * n_all + start * SIDE, n_padded,
                     room->weights + i, room->heard + i * WIDTH + channel);
    }
    for (int64_t i = 0; i < n_here; i++) {
        float total = sum(load(room->sums + i * LANES));
        for (int64_t channel = 0; channel < WIDTH; channel += LANES)
            store(found + i * found_stride + channel,
                  load(room->heard + i * WIDTH + channel) * (load(packed.value_steps + channel) / total) +
                      load(packed.value_means + channel));
    }
}

static int64_t bytes_of_head(int64_t n_keys) { return padded(n_keys) * (2 * WIDTH + 5) + 4 * 3 * WIDTH; }

/* Where the head that begins there lies. */
static Packed packed_head(char *memory, int64_t n_all) {
    float *steps = (float *)memory; /* of the values, their means, and two numbers of the keys */
    int32_t *starts = (int32_t *)(steps + 3 * WIDTH);
    int8_t *keys = (int8_t *)(starts + n_all), *values = keys + n_all * WIDTH;
    return (Packed){.keys = keys,
                    .values = values,
                    .is_there = (uint8_t *)values + n_all * WIDTH,
                    .starts = starts,
                    .key_step = steps + 2 * WIDTH,
                    .longest_key = steps + 2 * WIDTH + 1,
                    .value_steps = steps,
                    .value_means = steps + WIDTH};
}

/* Bytes of memory that `tympan_attend_int8` wants. */
int64_t tympan_attend_int8_bytes(int64_t n_heads, int64_t n_keys, int32_t n_threads) {
    return n_heads * bytes_of_head(n_keys) + n_threads * (int64_t)sizeof(Room);
}

/* `found` of `queries` at all of `keys`, of which scores are multiplied by `factor`. */
void tympan_attend_int8(const Heads *queries, const Heads *keys, const Heads *values, const Heads *found,
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
