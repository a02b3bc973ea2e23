/* The exact logits of the likeliest tokens, in the place of those that int8 gave them; and of all logits, the
 * likeliest token and what their exponentials sum to. */
#include <math.h>
#include <omp.h>
#include <stdint.h>

#include "vectors.h"

#define TOKENS_AT_ONCE 128
#define MOST_EXACT 16

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

/* The largest of the numbers from `first` to before `end`. */
static inline float largest_from(const float *numbers, int64_t first, int64_t end) {
    Floats most = all(-INFINITY);
    for (; first + LANES <= end; first += LANES) most = larger(most, load(numbers + first));
    float top = largest(most);
    for (; first < end; first++) top = numbers[first] > top ? numbers[first] : top;
    return top;
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
            int64_t end = first + TOKENS_AT_ONCE < n_tokens ? first + TOKENS_AT_ONCE : n_tokens;
            float top = largest_from(of_row, first, end);
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

/* Of each row of `logits` [N, V], whose rows lie `stride` numbers apart: which is the largest, of equal ones
 * the first, and the logarithm of the sum of their exponentials. */
void tympan_likeliest(const float *logits, int64_t n_tokens, int64_t n_rows, int64_t stride, int64_t *tokens,
                      float *log_sums, int32_t n_threads) {
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t row = 0; row < n_rows; row++) {
        const float *of_row = logits + row * stride;
        float top = -INFINITY;
        int64_t block = 0, token;
        for (int64_t first = 0; first < n_tokens; first += TOKENS_AT_ONCE) {
            int64_t end = first + TOKENS_AT_ONCE < n_tokens ? first + TOKENS_AT_ONCE : n_tokens;
            float most = largest_from(of_row, first, end);
            if (most > top) top = most, block = first;
        }
        for (token = block; token + 1 < n_tokens && of_row[token] < top; token++) {}
        Floats sums = all(0.0f), others = all(0.0f);
        int64_t i = 0;
        for (; i + 2 * LANES <= n_tokens; i += 2 * LANES) {
            sums += exponential(load(of_row + i) - top);
            others += exponential(load(of_row + i + LANES) - top);
        }
        float total = sum(sums + others);
        for (; i < n_tokens; i++) total += expf(of_row[i] - top);
        tokens[row] = token;
        log_sums[row] = top > -INFINITY ? top + logf(total) : top;
    }
}
