/* The audio's keys and values in six bits, and attention to them of a few queries, in products of bytes.
 *
 * Shapes: B windows, H heads of K channels, a multiple of 16, S positions in parts of PART. The numbers that
 * a channel has in a part are rounded to 63 even steps between the least and the largest of them.
 *
 * Queries, times the steps of the keys, and shares are whole numbers of two digits, each of which is
 * multiplied by the bytes for itself: what is rounded is then the audio alone.
 */
#include "audio.h"

#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

#include "heads.h"
#include "products.h"
#include "vectors.h"

#define QUERIES_AT_ONCE BY_REGISTERS(5, 3)
#define ACROSS 2                 /* vectors side by side */
#define SIDE (ACROSS * LANES)    /* positions of keys, or channels of values, side by side */
#define TOGETHER 16              /* channels of keys, or positions of values, in eight vectors */
#define SIX (6 * LANES * GROUP)  /* bytes that eight vectors take */
#define AHEAD 6144               /* bytes: so far ahead of where it is read, audio is asked of memory */
#define PART 128                 /* positions */
#define MOST 63.0f
#define LEAST_STEP 6.2e-5f /* the least that float16 has with all of its bits */
#define TINY 1e-30f
#define LINE 64
#define BASE (MOST_DIGIT + 1)
#define MOST_OF_TWO ((float)(MOST_DIGIT * BASE))

#define EACH_ACROSS _Pragma("GCC unroll 2") for (int i = 0; i < ACROSS; i++)
#define EACH_QUERY _Pragma("GCC unroll 5") for (int query = 0; query < n_queries; query++)
#define EACH_OF_EIGHT _Pragma("GCC unroll 8") for (int place = 0; place < 8; place++)

/* A head: keys, of SIDE positions after the other, and values, of SIDE channels after the other, zeros where
 * there are none; and of each part and channel what a step means and the least number, in float16. Eight
 * vectors follow each other by ACROSS and then by groups of channels or positions. */
typedef struct {
    uint8_t *keys, *values;
    uint16_t *key_steps, *least_keys, *value_steps, *least_values;
} Head;

static int64_t filled(int64_t n) { return (n + SIDE - 1) / SIDE * SIDE; }
static int64_t n_parts(int64_t n_positions) { return (n_positions + PART - 1) / PART; }
static int64_t bytes_of(int64_t n_numbers) { return n_numbers / 8 * 6; }

static int64_t bytes_of_head(int64_t n_positions, int64_t n_channels) {
    int64_t n_bytes = bytes_of(filled(n_positions) * (n_channels + filled(n_channels)));
    return (n_bytes + 4 * 2 * n_parts(n_positions) * n_channels + LINE - 1) / LINE * LINE;
}

static Head head_at(uint8_t *memory, int64_t n_positions, int64_t n_channels) {
    uint8_t *values = memory + bytes_of(filled(n_positions) * n_channels);
    uint16_t *steps = (uint16_t *)(values + bytes_of(filled(n_positions) * filled(n_channels)));
    int64_t n = n_parts(n_positions) * n_channels;
    return (Head){memory, values, steps, steps + n, steps + 2 * n, steps + 3 * n};
}

/* Eight vectors of bytes of six bits as six: in the two bits that are left in three lies a fourth one. */
static inline void put_eight(const Ints eight[8], uint8_t *to) {
    Ints two = all_ints(0x03030303);
    for (int i = 0; i < 6; i++) {
        Ints own = eight[i / 3 * 4 + i % 3], fourth = eight[i / 3 * 4 + 3];
        store_ints(to + i * LANES * GROUP, own | ((fourth >> 2 * (i % 3)) & two) << 6);
    }
}

static inline void load_six(const uint8_t *from, Ints six[6]) {
    _Pragma("GCC unroll 6") for (int i = 0; i < 6; i++) {
        _mm_prefetch(from + i * LANES * GROUP + AHEAD, _MM_HINT_T0);
        six[i] = load_ints(from + i * LANES * GROUP);
    }
}

static inline __attribute__((always_inline)) Ints one_of_eight(const Ints six[6], int place) {
    const Ints *three = six + place / 4 * 3;
    if (place % 4 < 3) return three[place % 4] & all_ints(0x3f3f3f3f);
    return ((three[0] >> 6) & all_ints(0x03030303)) | ((three[1] >> 4) & all_ints(0x0c0c0c0c)) |
           ((three[2] >> 2) & all_ints(0x30303030));
}

/* A head's numbers, float32 or bfloat16. */
typedef struct {
    const void *numbers;
    int64_t stride;
    int32_t is_narrow;
} Source;

static Source source_of(const Heads *heads, int32_t is_narrow, int64_t row, int64_t head) {
    int64_t bytes = start_of_head(heads, row, head) * (is_narrow ? 2 : 4);
    return (Source){(const char *)heads->numbers + bytes, heads->position_stride, is_narrow};
}

static inline Floats take(Source from, int64_t position, int64_t channel) {
    int64_t place = position * from.stride + channel;
    if (from.is_narrow) return of_narrow((const uint16_t *)from.numbers + place);
    return load((const float *)from.numbers + place);
}

/* The least numbers of each part and channel, and the steps in which they become bytes. */
static void look(Source from, int64_t n_positions, int64_t n_channels, uint16_t *least, uint16_t *steps) {
    for (int64_t first = 0; first < n_positions; first += PART, least += n_channels, steps += n_channels)
        for (int64_t channel = 0; channel < n_channels; channel += LANES) {
            Floats lowest = take(from, first, channel), highest = lowest;
            for (int64_t i = first + 1; i < n_positions && i < first + PART; i++) {
                lowest = smaller(lowest, take(from, i, channel));
                highest = larger(highest, take(from, i, channel));
            }
            store_halves(least + channel, lowest);
            store_halves(steps + channel, larger((highest - lowest) / MOST, all(LEAST_STEP)));
        }
}

/* Numbers at a position as steps, none where there is no such position. */
static inline Ints as_steps(Source from, int64_t position, int64_t n_positions, int64_t channel,
                            int64_t n_channels, const uint16_t *least, const uint16_t *steps) {
    if (position >= n_positions || channel >= n_channels) return no_ints();
    int64_t place = position / PART * n_channels + channel;
    Floats above = (take(from, position, channel) - of_halves(least + place)) / of_halves(steps + place);
    return nearest_ints(smaller(larger(above, all(0.0f)), all(MOST)));
}

static void pack_keys(Source from, int64_t n_positions, int64_t n_channels, Head to) {
    look(from, n_positions, n_channels, to.least_keys, to.key_steps);
    for (int64_t first = 0; first < n_positions; first += SIDE)
        for (int64_t channel = 0; channel < n_channels; channel += TOGETHER) {
            uint8_t bytes[8][LANES * GROUP], row[TOGETHER];
            Ints eight[8];
            for (int64_t i = 0; i < SIDE; i++) {
                for (int64_t j = 0; j < TOGETHER; j += LANES)
                    store_lowest_bytes(row + j, as_steps(from, first + i, n_positions, channel + j,
                                                         n_channels, to.least_keys, to.key_steps));
                for (int64_t group = 0; group < TOGETHER / GROUP; group++)
                    memcpy(bytes[group * ACROSS + i / LANES] + i % LANES * GROUP, row + group * GROUP,
                           GROUP);
            }
            EACH_OF_EIGHT eight[place] = load_ints(bytes[place]);
            put_eight(eight, to.keys + bytes_of(first * n_channels + channel * SIDE));
        }
}

static void pack_values(Source from, int64_t n_positions, int64_t n_channels, Head to) {
    look(from, n_positions, n_channels, to.least_values, to.value_steps);
    for (int64_t channel = 0; channel < n_channels; channel += SIDE)
        for (int64_t first = 0; first < n_positions; first += TOGETHER) {
            Ints eight[8];
            for (int64_t place = 0; place < 8; place++) {
                Ints four[GROUP];
                for (int64_t i = 0; i < GROUP; i++)
                    four[i] = as_steps(from, first + place / ACROSS * GROUP + i, n_positions,
                                       channel + place % ACROSS * LANES, n_channels, to.least_values,
                                       to.value_steps);
                eight[place] = side_by_side(four);
            }
            put_eight(eight, to.values + bytes_of(channel * filled(n_positions) + first * SIDE));
        }
}

/* Bytes that a head takes. */
int64_t tympan_head_bytes(int64_t n_positions, int64_t n_channels) {
    return bytes_of_head(n_positions, n_channels);
}

/* Keys and values, both [B, H, S, K], to [B, H, bytes of a head]. */
void tympan_pack_audio(const Heads *keys, const Heads *values, int32_t is_narrow, int64_t n_rows,
                       int64_t n_heads, int64_t n_positions, int64_t n_channels, uint8_t *to,
                       int32_t n_threads) {
    int64_t n_bytes = bytes_of_head(n_positions, n_channels);
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t item = 0; item < n_rows * n_heads; item++) {
        int64_t row = item / n_heads, number = item % n_heads;
        memset(to + item * n_bytes, 0, n_bytes);
        Head head = head_at(to + item * n_bytes, n_positions, n_channels);
        pack_keys(source_of(keys, is_narrow, row, number), n_positions, n_channels, head);
        pack_values(source_of(values, is_narrow, row, number), n_positions, n_channels, head);
    }
}

/* What a thread keeps of a few queries. Of each and of P parts: digits [P, 2, K] of what it asks, what a step
 * of its scores means and where they begin, and what its shares sum to; and of each its scores [S] and the
 * digits [2, S] of its shares. */
typedef struct {
    float *scores, *steps, *starts, *totals;
    int8_t *shares, *asked;
} Room;

int64_t hear_bytes(int64_t n_positions, int64_t n_channels) {
    return QUERIES_AT_ONCE * (6 * filled(n_positions) + n_parts(n_positions) * (12 + 2 * n_channels));
}

static Room room_at(char *memory, int64_t n_positions, int64_t n_channels) {
    int64_t n = QUERIES_AT_ONCE * n_parts(n_positions);
    Room room = {.scores = (float *)memory};
    room.steps = room.scores + QUERIES_AT_ONCE * filled(n_positions);
    room.starts = room.steps + n;
    room.totals = room.starts + n;
    room.shares = (int8_t *)(room.totals + n);
    room.asked = room.shares + QUERIES_AT_ONCE * 2 * filled(n_positions);
    return room;
}

/* Whole numbers of up to MOST_OF_TWO either way as two digits, the low one of up to half of BASE. */
static inline void split(Floats whole, int8_t *high, int8_t *low) {
    Floats upper = nearest_whole(whole * (1.0f / BASE));
    store_signed_bytes(high, nearest_ints(upper));
    store_signed_bytes(low, nearest_ints(whole - upper * (float)BASE));
}

static inline Floats of_digits(const Ints sums[2]) {
    return of_ints(sums[0]) * (float)BASE + of_ints(sums[1]);
}

/* A query, times the `factor` of scores and the steps of a part's keys, as digits; what a step of these
 * means, and the score of the least keys. */
static void ask(const float *query, float factor, const uint16_t *key_steps, const uint16_t *least_keys,
                int64_t n_channels, int8_t *digits, float *step, float *start) {
    Floats most = all(TINY), scores = all(0.0f);
    for (int64_t channel = 0; channel < n_channels; channel += LANES) {
        Floats asked = load(query + channel) * factor;
        most = larger(most, size(asked * of_halves(key_steps + channel)));
        scores += asked * of_halves(least_keys + channel);
    }
    float enlargement = MOST_OF_TWO / largest(most);
    for (int64_t channel = 0; channel < n_channels; channel += LANES)
        split(nearest_whole(load(query + channel) * factor * of_halves(key_steps + channel) * enlargement),
              digits + channel, digits + n_channels + channel);
    *step = 1.0f / enlargement;
    *start = sum(scores);
}

/* The scores of what is asked, at all positions. */
static inline __attribute__((always_inline)) void score(const uint8_t *keys, int64_t n_positions,
                                                        int64_t n_channels, int n_queries, const Room *room) {
    int64_t n_filled = filled(n_positions), n = n_parts(n_positions);
    for (int64_t first = 0; first < n_filled; first += SIDE) {
        Ints sums[QUERIES_AT_ONCE][ACROSS][2];
        EACH_QUERY EACH_ACROSS sums[query][i][0] = sums[query][i][1] = no_ints();
        for (int64_t channel = 0; channel < n_channels; channel += TOGETHER, keys += SIX) {
            Ints six[6];
            load_six(keys, six);
            EACH_OF_EIGHT {
                Ints here = one_of_eight(six, place);
                EACH_QUERY {
                    int64_t of_part = query * n + first / PART;
                    const int8_t *digits =
                        room->asked + of_part * 2 * n_channels + channel + place / ACROSS * GROUP;
                    Ints *sum = sums[query][place % ACROSS];
                    sum[0] = add_digit_products(sum[0], here, digits);
                    sum[1] = add_digit_products(sum[1], here, digits + n_channels);
                }
            }
        }
        EACH_QUERY EACH_ACROSS {
            int64_t of_part = query * n + first / PART;
            store(room->scores + query * n_filled + first + i * LANES,
                  of_digits(sums[query][i]) * room->steps[of_part] + room->starts[of_part]);
        }
    }
}

/* Scores of a query become shares, as digits; what these sum to in each part. */
static void share(float *scores, int64_t n_positions, int8_t *digits, float *totals) {
    int64_t n_filled = filled(n_positions);
    for (int64_t position = n_positions; position < n_filled; position++) scores[position] = -INFINITY;
    Floats most = load(scores);
    for (int64_t position = LANES; position < n_filled; position += LANES)
        most = larger(most, load(scores + position));
    float top = largest(most);
    for (int64_t first = 0; first < n_filled; first += PART) {
        Floats total = all(0.0f);
        for (int64_t position = first; position < n_filled && position < first + PART; position += LANES) {
            Floats whole = nearest_whole(exponential(load(scores + position) - top) * MOST_OF_TWO);
            total += whole;
            split(whole, digits + position, digits + n_filled + position);
        }
        totals[first / PART] = sum(total);
    }
}

/* What is heard by the shares, which lies `stride` numbers apart. */
static inline __attribute__((always_inline)) void hear_values(Head head, int64_t n_positions,
                                                              int64_t n_channels, int n_queries,
                                                              const Room *room, float *heard,
                                                              int64_t stride) {
    int64_t n_filled = filled(n_positions), n = n_parts(n_positions);
    const uint8_t *values = head.values;
    for (int64_t channel = 0; channel < n_channels; channel += SIDE) {
        Floats found[QUERIES_AT_ONCE][ACROSS];
        float of_all[QUERIES_AT_ONCE] = {0.0f};
        EACH_QUERY EACH_ACROSS found[query][i] = all(0.0f);
        for (int64_t first = 0; first < n_filled; first += PART) {
            int64_t end = first + PART < n_filled ? first + PART : n_filled;
            Ints sums[QUERIES_AT_ONCE][ACROSS][2];
            EACH_QUERY EACH_ACROSS sums[query][i][0] = sums[query][i][1] = no_ints();
            for (int64_t position = first; position < end; position += TOGETHER, values += SIX) {
                Ints six[6];
                load_six(values, six);
                EACH_OF_EIGHT {
                    Ints here = one_of_eight(six, place);
                    EACH_QUERY {
                        const int8_t *digits =
                            room->shares + 2 * query * n_filled + position + place / ACROSS * GROUP;
                        Ints *sum = sums[query][place % ACROSS];
                        sum[0] = add_digit_products(sum[0], here, digits);
                        sum[1] = add_digit_products(sum[1], here, digits + n_filled);
                    }
                }
            }
            EACH_QUERY {
                float total = room->totals[query * n + first / PART];
                of_all[query] += total;
                EACH_ACROSS {
                    int64_t here = channel + i * LANES, of_part = first / PART * n_channels + here;
                    if (here < n_channels)
                        found[query][i] +=
                            of_digits(sums[query][i]) * of_halves(head.value_steps + of_part) +
                            total * of_halves(head.least_values + of_part);
                }
            }
        }
        EACH_QUERY EACH_ACROSS if (channel + i * LANES < n_channels)
            store(heard + query * stride + channel + i * LANES, found[query][i] * (1.0f / of_all[query]));
    }
}

/* `call` with the constant COUNT in the place of `n`, which is at most QUERIES_AT_ONCE. */
#define CASE(n, call)       \
    case n: {               \
        enum { COUNT = n }; \
        call;               \
        break;              \
    }
#define WITH_COUNT(n, call) \
    switch (n) { CASE(1, call) CASE(2, call) CASE(3, call) BY_REGISTERS(CASE(4, call) CASE(5, call), ) }

void hear(const Audio *audio, int64_t layer, int64_t window, int64_t head, int64_t n_heads,
          int64_t n_channels, const float *queries, int64_t n_queries, int64_t stride, float *heard,
          char *memory) {
    int64_t n_positions = audio->n_positions, n = n_parts(n_positions);
    int64_t start = (window * n_heads + head) * bytes_of_head(n_positions, n_channels);
    Head here = head_at((uint8_t *)audio->heads[layer] + start, n_positions, n_channels);
    Room room = room_at(memory, n_positions, n_channels);
    float factor = 1.0f / sqrtf(n_channels);
    for (int64_t first = 0; first < n_queries; first += QUERIES_AT_ONCE) {
        int64_t n_left = n_queries - first, n_here = n_left < QUERIES_AT_ONCE ? n_left : QUERIES_AT_ONCE;
        for (int64_t item = 0; item < n_here * n; item++) {
            int64_t of_part = item % n * n_channels;
            ask(queries + (first + item / n) * stride, factor, here.key_steps + of_part,
                here.least_keys + of_part, n_channels, room.asked + 2 * item * n_channels, room.steps + item,
                room.starts + item);
        }
        WITH_COUNT(n_here, score(here.keys, n_positions, n_channels, COUNT, &room))
        for (int64_t query = 0; query < n_here; query++)
            share(room.scores + query * filled(n_positions), n_positions,
                  room.shares + 2 * query * filled(n_positions), room.totals + query * n);
        float *to = heard + first * stride;
        WITH_COUNT(n_here, hear_values(here, n_positions, n_channels, COUNT, &room, to, stride))
    }
}
