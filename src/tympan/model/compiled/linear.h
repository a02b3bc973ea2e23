/* Norms, and int8 linear layers: what these read is rounded row by row, and what they make may be activated
 * at once.
 *
 * Whatever is read in vectors has a multiple of LANES numbers.
 */
#ifndef TYMPAN_LINEAR_H
#define TYMPAN_LINEAR_H

#include <math.h>
#include <stdint.h>

#include "vectors.h"

#define ROWS_AT_ONCE 8 /* rows that a block of weights is multiplied by while it is in registers */
#define GROUP 4        /* inputs of an output that lie together, and are summed by one instruction */

/* A linear layer: weights in blocks of LANES outputs, [out / LANES, in / 4, LANES, 4], the last one filled up
 * with zeros; a scale, a bias and the sum of its weights for each output. */
typedef struct {
    const int8_t *weights;
    const float *scales, *biases;
    const int32_t *sums;
    int64_t n_in, n_out;
} Linear;

/* Rows that a linear layer reads: bytes, and of each row its scale and the byte that stands for zero. */
typedef struct {
    uint8_t *bytes;
    float *scales;
    int32_t *zeros;
} Rounded;

static void round_row(const float *states, int64_t width, Rounded to, int64_t row) {
    Floats least = all(0.0f), most = all(0.0f);
    for (int64_t i = 0; i < width; i += LANES) {
        least = smaller(least, load(states + i));
        most = larger(most, load(states + i));
    }
    float low = smallest(least), range = largest(most) - low;
    float scale = range > 0.0f ? range / MOST_LEVELS : 1.0f, factor = 1.0f / scale;
    int32_t zero = (int32_t)lrintf(-low / scale);
    for (int64_t i = 0; i < width; i += LANES)
        store_bytes(to.bytes + row * width + i, load(states + i) * factor, zero);
    to.scales[row] = scale;
    to.zeros[row] = zero;
}

typedef struct {
    const float *weight, *bias;
} Norm;

static void normalise(const float *states, Norm norm, float epsilon, int64_t width, float *normed) {
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

static void normalise_and_round(const float *states, Norm norm, float epsilon, int64_t width, int64_t n_rows,
                                float *row_states, Rounded to) {
    for (int64_t row = 0; row < n_rows; row++) {
        normalise(states + row * width, norm, epsilon, width, row_states);
        round_row(row_states, width, to, row);
    }
}

enum { GELU, GELU_TANH, RELU, SILU };

/* GELU with the error function (Abramowitz and Stegun 7.1.26, off by 1.5e-7). */
static inline Floats gelu(Floats x) {
    Floats root = size(x) * 0.70710678f, t = 1.0f / (1.0f + 0.3275911f * root);
    Floats series = t * 1.061405429f - 1.453152027f;
    series = series * t + 1.421413741f;
    series = series * t - 0.284496736f;
    series = (series * t + 0.254829592f) * t;
    Floats tail = series * exponential(-root * root) * 0.5f; /* of the distribution, beyond |x| */
    return where_negative(x, x * tail, x * (1.0f - tail));
}

static inline Floats activate(Floats x, int64_t activation) {
    if (activation == GELU) return gelu(x);
    if (activation == RELU) return larger(x, all(0.0f));
    /* x times a sigmoid: SiLU, and GELU by a hyperbolic tangent, which is one too */
    Floats slope = x;
    if (activation == GELU_TANH) slope = 1.5957691216f * (x + 0.044715f * x * x * x);
    return x / (1.0f + exponential(-larger(slope, all(-80.0f))));
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

/* Outputs of one block for all rows, to rows so far apart: added to what is there, activated, or neither. */
enum { STORE = -1, ADD = -2 };

static void multiply_block(const Linear *layer, int64_t block, Rounded read, int64_t n_rows, float *to,
                           int64_t stride, int64_t then) {
    int64_t first = block * LANES, n_left = layer->n_out - first;
    Floats scales = load(layer->scales + first), biases = load(layer->biases + first);
    Ints of_weights = load_ints(layer->sums + first);
    for (int64_t row = 0; row < n_rows; row += ROWS_AT_ONCE) {
        Ints sums[ROWS_AT_ONCE];
        int64_t n_here = n_rows - row < ROWS_AT_ONCE ? n_rows - row : ROWS_AT_ONCE;
        sums_for[n_here - 1](layer->weights + first * layer->n_in, read.bytes + row * layer->n_in,
                             layer->n_in, sums);
        for (int64_t i = 0; i < n_here; i++) {
            Floats exact = of_ints(less(sums[i], of_weights, read.zeros[row + i]));
            Floats result = exact * (scales * read.scales[row + i]) + biases;
            float *place = to + (row + i) * stride + first;
            if (then == ADD) result += n_left < LANES ? load_first(place, n_left) : load(place);
            if (then >= 0) result = activate(result, then);
            if (n_left < LANES)
                store_first(place, result, n_left);
            else
                store(place, result);
        }
    }
}

static inline int64_t n_blocks(const Linear *layer) { return (layer->n_out + LANES - 1) / LANES; }

#define EACH_BLOCK(layer) \
    _Pragma("omp for schedule(static)") for (int64_t block = 0; block < n_blocks(layer); block++)

#endif
