/* Linear layers alone, for any number of rows, and the exact logits of the likeliest tokens. */
#include "linear.h"

#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

#include "vectors.h"

#define PANEL 48 /* rows that stay in a cache while all weights pass by */
#define APART \
    16 /* numbers more than there are from one row to the next, so that they lie in other sets of a cache */
#define TOKENS_AT_ONCE 128
#define MOST_EXACT 16

/* Outputs [N, out] of states [N, in], activated unless `then` is STORE. `scratch` has N * (in + 8) bytes.
 *
 * Few rows wait for weights, which are read once for all of them; of many, a few at a time stay in the cache.
 */
void tympan_multiply(const Linear *layer, int64_t n_rows, const float *states, float *to, int64_t then,
                     char *scratch, int32_t n_threads) {
    Rounded all_rows = {(uint8_t *)(scratch + 8 * n_rows), (float *)scratch, (int32_t *)scratch + n_rows};
    int64_t n_panels = (n_rows + PANEL - 1) / PANEL;
#pragma omp parallel num_threads(n_threads)
    if (n_panels < n_threads) {
#pragma omp for schedule(static)
        for (int64_t row = 0; row < n_rows; row++)
            round_row(states + row * layer->n_in, layer->n_in, all_rows, row);
        EACH_BLOCK (layer) multiply_block(layer, block, all_rows, n_rows, to, layer->n_out, then);
    } else {
#pragma omp for schedule(static)
        for (int64_t panel = 0; panel < n_panels; panel++) {
            int64_t first = panel * PANEL, n_here = n_rows - first < PANEL ? n_rows - first : PANEL;
            Rounded read = {all_rows.bytes + first * layer->n_in, all_rows.scales + first,
                            all_rows.zeros + first};
            for (int64_t row = 0; row < n_here; row++)
                round_row(states + (first + row) * layer->n_in, layer->n_in, read, row);
            for (int64_t block = 0; block < n_blocks(layer); block++)
                multiply_block(layer, block, read, n_here, to + first * layer->n_out, layer->n_out, then);
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
#pragma omp parallel num_threads(n_threads)
    {
        char *own = memory + omp_get_thread_num() * (tympan_feed_forward_bytes(half, 1));
        float *normed = (float *)own, *inner = normed + width;
        Rounded read;
        read.scales = inner + PANEL * stride;
        read.zeros = (int32_t *)(read.scales + PANEL);
        read.bytes = (uint8_t *)(read.zeros + PANEL);
#pragma omp for schedule(static)
        for (int64_t first = 0; first < n_rows; first += PANEL) {
            int64_t n_here = n_rows - first < PANEL ? n_rows - first : PANEL;
            normalise_and_round(states + first * width, half->norm, half->epsilon, width, n_here, normed,
                                read);
            for (int64_t block = 0; block < n_blocks(&half->first); block++)
                multiply_block(&half->first, block, read, n_here, inner, stride, half->activation);
            for (int64_t row = 0; row < n_here; row++) round_row(inner + row * stride, n_inner, read, row);
            memcpy(to + first * width, states + first * width, n_here * width * sizeof *to);
            for (int64_t block = 0; block < n_blocks(&half->second); block++)
                multiply_block(&half->second, block, read, n_here, to + first * width, width, ADD);
        }
    }
}

/* Put `number`, larger than the last of the `n` that were `found`, among them, the largest first. */
static inline void insert(float number, int64_t place, int64_t n, float *found, int64_t *places) {
    int64_t rank = n - 1;
    for (; rank > 0 && found[rank - 1] < number; rank--) {
        found[rank] = found[rank - 1];
        places[rank] = places[rank - 1];
    }
    found[rank] = number;
    places[rank] = place;
}

/* Replace the `n` largest of each row of `logits` [N, V] by the products of `states` [N, D] with the rows of
 * `exact`, float16 [V, D]. They lie in the n blocks of tokens whose largest ones are largest. */
void tympan_sharpen(const uint16_t *exact, int64_t n_tokens, int64_t width, int64_t n_rows,
                    const float *states, float *logits, int64_t n) {
    for (int64_t row = 0; row < n_rows; row++) {
        float *of_row = logits + row * n_tokens, found[MOST_EXACT], of_block[MOST_EXACT];
        int64_t places[MOST_EXACT], blocks[MOST_EXACT];
        for (int64_t i = 0; i < n; i++) found[i] = of_block[i] = -INFINITY, places[i] = blocks[i] = -1;
        for (int64_t first = 0; first < n_tokens; first += TOKENS_AT_ONCE) {
            int64_t end = first + TOKENS_AT_ONCE < n_tokens ? first + TOKENS_AT_ONCE : n_tokens, i = first;
            Floats most = all(-INFINITY);
            for (; i + LANES <= end; i += LANES) most = larger(most, load(of_row + i));
            float top = largest(most);
            for (; i < end; i++) top = of_row[i] > top ? of_row[i] : top;
            if (top > of_block[n - 1]) insert(top, first, n, of_block, blocks);
        }
        for (int64_t i = 0; i < n && blocks[i] >= 0; i++) {
            int64_t end = blocks[i] + TOKENS_AT_ONCE < n_tokens ? blocks[i] + TOKENS_AT_ONCE : n_tokens;
            for (int64_t token = blocks[i]; token < end; token++)
                if (of_row[token] > found[n - 1]) insert(of_row[token], token, n, found, places);
        }
        for (int64_t i = 0; i < n && places[i] >= 0; i++) {
            Floats products = all(0.0f);
            const uint16_t *weights = exact + places[i] * width;
            for (int64_t channel = 0; channel < width; channel += LANES)
                products += of_halves(weights + channel) * load(states + row * width + channel);
            of_row[places[i]] = sum(products);
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
