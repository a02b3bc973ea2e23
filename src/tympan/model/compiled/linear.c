/* Norms and linear layers, for any number of rows. */
#include "linear.h"

#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

#include "activations.h"
#include "products.h"
#include "vectors.h"

#define ROWS_AT_ONCE 8 /* rows that a block of weights is multiplied by while it is in registers */
#define PANEL 48       /* rows, at most, that stay in a cache while all weights pass by */
#define HEAD 64        /* channels */
#define APART 16       /* numbers between rows, so that they lie in other sets of a cache */
#define SOON 24        /* groups before the end of products, when memory is asked where their sums go */

void round_row(const float *states, int64_t width, Rounded to, int64_t row) {
    Floats least = all(0.0f), most = all(0.0f);
    for (int64_t i = 0; i < width; i += LANES) {
        least = smaller(least, load(states + i));
        most = larger(most, load(states + i));
    }
    float low = smallest(least), range = largest(most) - low;
    float scale = range > 0.0f ? range / MOST_LEVELS : 1.0f, factor = 1.0f / scale;
    int32_t zero = (int32_t)lrintf(-low / scale);
    for (int64_t i = 0; i < width; i += LANES)
        store_bytes(to.bytes + row * width + i, load(states + i) * factor, zero, MOST_LEVELS);
    to.scales[row] = scale;
    to.zeros[row] = zero;
}

void normalise(const float *states, Norm norm, float epsilon, int64_t width, float *normed) {
    Floats total = all(0.0f), squares = all(0.0f);
    for (int64_t i = 0; i < width; i += LANES) total += load(states + i);
    float mean = sum(total) / width;
    for (int64_t i = 0; i < width; i += LANES) {
        Floats difference = load(states + i) - mean;
        squares += difference * difference;
    }
    float factor = 1.0f / sqrtf(sum(squares) / width + epsilon);
    for (int64_t i = 0; i < width; i += LANES)
        store(normed + i, (load(states + i) - mean) * factor * load(norm.weight + i) + load(norm.bias + i));
}

void normalise_and_round(const float *states, Norm norm, float epsilon, int64_t width, int64_t n_rows,
                         float *row_states, Rounded to) {
    for (int64_t row = 0; row < n_rows; row++) {
        normalise(states + row * width, norm, epsilon, width, row_states);
        round_row(row_states, width, to, row);
    }
}

/* Sums int32 of a block of LANES outputs for `n_rows` rows, one vector for each. */
#define SUMS_FOR(N_ROWS, AT_ONCE)                                                                        \
    static void sums_for_##N_ROWS(const int8_t *block, const uint8_t *bytes, int64_t n_in, Ints *sums) { \
        Ints partial[N_ROWS][AT_ONCE];                                                                   \
        _Pragma("GCC unroll 8") for (int row = 0; row < N_ROWS; row++)                                   \
            _Pragma("GCC unroll 8") for (int part = 0; part < AT_ONCE; part++) partial[row][part] =      \
                no_ints();                                                                               \
        for (int64_t i = 0; i < n_in; i += GROUP * AT_ONCE)                                              \
            _Pragma("GCC unroll 8") for (int part = 0; part < AT_ONCE; part++) {                         \
                int64_t place = i + GROUP * part;                                                        \
                Ints weights = load_ints(block + place * LANES);                                         \
                _Pragma("GCC unroll 8") for (int row = 0; row < N_ROWS; row++) partial[row][part] =      \
                    add_products(partial[row][part], bytes + row * n_in + place, weights);               \
            }                                                                                            \
        _Pragma("GCC unroll 8") for (int row = 0; row < N_ROWS; row++) {                                 \
            sums[row] = partial[row][0];                                                                 \
            _Pragma("GCC unroll 8") for (int part = 1; part < AT_ONCE; part++) sums[row] =               \
                add_ints(sums[row], partial[row][part]);                                                 \
        }                                                                                                \
    }
SUMS_FOR(1, 4)
SUMS_FOR(2, 4)
SUMS_FOR(3, BY_REGISTERS(4, 2))
SUMS_FOR(4, BY_REGISTERS(4, 2))
SUMS_FOR(5, BY_REGISTERS(4, 2))
SUMS_FOR(6, BY_REGISTERS(4, 1))
SUMS_FOR(7, BY_REGISTERS(2, 1))
SUMS_FOR(8, BY_REGISTERS(2, 1))

static void (*const sums_for[ROWS_AT_ONCE])(const int8_t *, const uint8_t *, int64_t, Ints *) = {
    sums_for_1, sums_for_2, sums_for_3, sums_for_4, sums_for_5, sums_for_6, sums_for_7, sums_for_8};

/* Where a row's outputs from `output` on go, if those of the first row from the first on go to `to`: to rows
 * `stride` numbers apart, or TO_HEADS, as bfloat16 [out / HEAD, rows, HEAD], with heads so far apart. */
static inline float *place_of(float *to, int64_t row, int64_t output, int64_t stride, int64_t then) {
    if (then != TO_HEADS) return to + row * stride + output;
    return (float *)((uint16_t *)to + output / HEAD * stride + row * HEAD + output % HEAD);
}

/* Outputs of a block for a row, of which `sums` are the products, where they belong. */
static inline __attribute__((always_inline)) void put(const Linear *layer, int64_t block, Rounded read,
                                                      int64_t row, Ints sums, float *to, int64_t stride,
                                                      int64_t then) {
    int64_t first = block * LANES, n_left = layer->n_out - first;
    Floats exact = of_ints(less(sums, load_ints(layer->sums + first), read.zeros[row]));
    Floats result = exact * (load(layer->scales + first) * read.scales[row]) + load(layer->biases + first);
    float *place = place_of(to, row, first, stride, then);
    if (then == TO_HEADS) {
        store_narrow((uint16_t *)place, result);
        return;
    }
    if (then == ADD) result += n_left < LANES ? load_first(place, n_left) : load(place);
    if (then >= 0) result = activate(result, then);
    if (n_left < LANES)
        store_first(place, result, n_left);
    else
        store(place, result);
}

void multiply_block(const Linear *layer, int64_t block, Rounded read, int64_t n_rows, float *to,
                    int64_t stride, int64_t then) {
    for (int64_t row = 0; row < n_rows; row += ROWS_AT_ONCE) {
        Ints sums[ROWS_AT_ONCE];
        int64_t n_here = n_rows - row < ROWS_AT_ONCE ? n_rows - row : ROWS_AT_ONCE;
        sums_for[n_here - 1](layer->weights + block * LANES * layer->n_in, read.bytes + row * layer->n_in,
                             layer->n_in, sums);
        for (int64_t i = 0; i < n_here; i++) put(layer, block, read, row + i, sums[i], to, stride, then);
    }
}

/* The same for ROWS rows and VECTORS blocks. */
static void multiply_tile(const Linear *layer, int64_t block, Rounded read, int64_t first, float *to,
                          int64_t stride, int64_t then) {
    Ints sums[ROWS][VECTORS];
    EACH_SUM
        sums[row][i] = no_ints();
    const uint8_t *rows = read.bytes + first * layer->n_in;
    const int8_t *weights = layer->weights + block * LANES * layer->n_in;
    int64_t n_groups = layer->n_in / GROUP, n_before = n_groups > SOON ? n_groups - SOON : 0;
    int64_t apart = LANES * layer->n_in, step = LANES * GROUP;
    sum_products(rows, layer->n_in, weights, apart, step, n_before, sums);
    EACH_SUM
        _mm_prefetch(place_of(to, first + row, (block + i) * LANES, stride, then), _MM_HINT_T0);
    sum_products(rows + n_before * GROUP, layer->n_in, weights + n_before * step, apart, step,
                 n_groups - n_before, sums);
    EACH_SUM
        put(layer, block + i, read, first + row, sums[row][i], to, stride, then);
}

/* Outputs of all blocks for the rows of a panel. */
static void multiply_panel(const Linear *layer, Rounded read, int64_t n_rows, float *to, int64_t stride,
                           int64_t then) {
    int64_t n_tiled = n_rows / ROWS * ROWS, n_side = n_blocks(layer) / VECTORS * VECTORS;
    Rounded rest = {read.bytes + n_tiled * layer->n_in, read.scales + n_tiled, read.zeros + n_tiled};
    for (int64_t block = 0; block < n_side; block += VECTORS)
        for (int64_t row = 0; row < n_tiled; row += ROWS)
            multiply_tile(layer, block, read, row, to, stride, then);
    for (int64_t block = 0; block < n_side; block++)
        multiply_block(layer, block, rest, n_rows - n_tiled, place_of(to, n_tiled, 0, stride, then), stride,
                       then);
    for (int64_t block = n_side; block < n_blocks(layer); block++)
        multiply_block(layer, block, read, n_rows, to, stride, then);
}

/* Rows of a panel, of which each thread gets as many. */
static int64_t rows_of_panel(int64_t n_rows, int32_t n_threads) {
    int64_t n_each = (n_rows + PANEL * n_threads - 1) / (PANEL * n_threads), n_panels = n_each * n_threads;
    int64_t n_even = (n_rows + n_panels - 1) / n_panels;
    return (n_even + ROWS - 1) / ROWS * ROWS;
}

/* Outputs [N, out] of N rows of states, so far apart, activated unless `then` is STORE or TO_HEADS. `scratch`
 * has N * (in + 8) bytes.
 *
 * Few rows wait for weights, which are read once for all of them; of many, a few at a time stay in the cache.
 */
void tympan_multiply(const Linear *layer, int64_t n_rows, const float *states, int64_t stride, float *to,
                     int64_t then, char *scratch, int32_t n_threads) {
    Rounded all_rows = {(uint8_t *)(scratch + 8 * n_rows), (float *)scratch, (int32_t *)scratch + n_rows};
    int64_t panel = rows_of_panel(n_rows, n_threads), apart = then == TO_HEADS ? n_rows * HEAD : layer->n_out;
#pragma omp parallel num_threads(n_threads)
    if (n_rows <= PANEL) {
#pragma omp for schedule(static)
        for (int64_t row = 0; row < n_rows; row++)
            round_row(states + row * stride, layer->n_in, all_rows, row);
        EACH_BLOCK (layer) multiply_block(layer, block, all_rows, n_rows, to, apart, then);
    } else {
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < n_rows; first += panel) {
            int64_t n_here = n_rows - first < panel ? n_rows - first : panel;
            Rounded read = {all_rows.bytes + first * layer->n_in, all_rows.scales + first,
                            all_rows.zeros + first};
            for (int64_t row = 0; row < n_here; row++)
                round_row(states + (first + row) * stride, layer->n_in, read, row);
            multiply_panel(layer, read, n_here, place_of(to, first, 0, apart, then), apart, then);
        }
    }
}

/* The half of a layer that looks at one position at a time: a norm, a linear layer, an activation, and
 * another. */
typedef struct {
    Norm norm;
    Linear first, second;
    int64_t activation;
    float epsilon;
} FeedForward;

static int64_t feed_forward_bytes(const FeedForward *half) {
    int64_t n_inner = half->first.n_out;
    return 4 * (half->first.n_in + PANEL * (n_inner + APART + 2)) + PANEL * n_inner;
}

/* Bytes of memory that `tympan_feed_forward` wants. */
int64_t tympan_feed_forward_bytes(const FeedForward *half, int32_t n_threads) {
    return n_threads * (feed_forward_bytes(half) / 64 + 1) * 64;
}

/* States [N, D] and what is made of them, to [N, D]: of a few rows at a time, so that what is between the two
 * linear layers stays in a cache. */
void tympan_feed_forward(const FeedForward *half, int64_t n_rows, const float *states, float *to,
                         char *memory, int32_t n_threads) {
    int64_t width = half->first.n_in, n_inner = half->first.n_out, stride = n_inner + APART;
    int64_t panel = rows_of_panel(n_rows, n_threads);
#pragma omp parallel num_threads(n_threads)
    {
        char *own = memory + omp_get_thread_num() * (tympan_feed_forward_bytes(half, 1));
        float *normed = (float *)own, *inner = normed + width;
        Rounded read;
        read.scales = inner + PANEL * stride;
        read.zeros = (int32_t *)(read.scales + PANEL);
        read.bytes = (uint8_t *)(read.zeros + PANEL);
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < n_rows; first += panel) {
            int64_t n_here = n_rows - first < panel ? n_rows - first : panel;
            normalise_and_round(states + first * width, half->norm, half->epsilon, width, n_here, normed,
                                read);
            multiply_panel(&half->first, read, n_here, inner, stride, half->activation);
            for (int64_t row = 0; row < n_here; row++) round_row(inner + row * stride, n_inner, read, row);
            memcpy(to + first * width, states + first * width, n_here * width * sizeof *to);
            multiply_panel(&half->second, read, n_here, to + first * width, width, ADD);
        }
    }
}

/* Outputs in a block of weights. */
int32_t tympan_lanes(void) { return LANES; }

/* The largest byte that states are rounded to. */
int32_t tympan_most_levels(void) { return MOST_LEVELS; }

/* Weights [out, in] in the order in which they are read, to `packed` filled with zeros, and their sums. */
void tympan_pack(const int8_t *weights, int64_t n_out, int64_t n_in, int8_t *packed, int32_t *sums) {
    for (int64_t output = 0; output < n_out; output++) {
        int32_t total = 0;
        int8_t *block = packed + output / LANES * LANES * n_in + output % LANES * GROUP;
        for (int64_t i = 0; i < n_in; i++) {
            int8_t weight = weights[output * n_in + i];
            block[i / GROUP * GROUP * LANES + i % GROUP] = weight;
            total += weight;
        }
        sums[output] = total;
    }
}
