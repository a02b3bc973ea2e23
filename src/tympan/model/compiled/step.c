/* One token more for every row, or a few: what lean_step.py does in PyTorch's operations, in a single call. A
 * step waits for memory; as some 150 operations, whose code and whose numbers come from memory too, it waits
 * nearly twice as long.
 *
 * Shapes: N rows that get T tokens each, D width, H heads of K = D / H channels, B windows with N / B rows
 * each, S positions of the audio in P parts. Whatever is read in vectors has a multiple of LANES numbers;
 * arrays are contiguous where no strides are given.
 */
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

#include "linear.h"
#include "vectors.h"

#define QUERIES_AT_ONCE 5
#define AHEAD 6144 /* bytes: so far ahead of where it is read, audio is asked of memory */

typedef struct {
    Norm self_norm, cross_norm, final_norm;
    Linear qkv, self_out, queries, cross_out, fc1, fc2;
    const int64_t *spared; /* inputs of fc2 that stay exact, and their weights [spared, D] */
    const float *exact;
} Layer;

typedef struct {
    int64_t n_layers, width, n_heads, n_inner, n_spared, activation;
    float epsilon;
    const Layer *layers;
    Norm norm;
} Decoder;

/* What the layers remember: bases of each layer's buffers, and how many numbers apart rows and heads are. */
typedef struct {
    float *const *keys, *const *values;
    int64_t row_stride, head_stride, length;
    int64_t n_tokens;  /* that each row gets */
    const float *mask; /* added to the scores of all columns; null: nothing */
    int64_t mask_stride;
} Text;

/* Rounded keys uint8 [B, H, P, K, S / P + 8] and values uint8 [B, H, S, K + 8] of each layer. */
typedef struct {
    const uint8_t *const *keys, *const *values;
    int64_t n_windows, n_positions, n_parts;
} Audio;

/* Text attention of a token to those before it and itself, of one head. `keys` and `values` are the row's. */
static void read_back(const float *query, const float *keys, const float *values, int64_t n_columns,
                      int64_t n_channels, const float *mask, float *scores, float *read) {
    float factor = 1.0f / sqrtf(n_channels), most = -INFINITY;
    for (int64_t column = 0; column < n_columns; column++) {
        Floats products = all(0.0f);
        for (int64_t i = 0; i < n_channels; i += LANES)
            products += load(query + i) * load(keys + column * n_channels + i);
        float score = sum(products) * factor;
        if (mask) score += mask[column];
        scores[column] = score;
        most = score > most ? score : most;
    }
    for (int64_t column = n_columns; column % LANES; column++) scores[column] = -INFINITY;
    Floats total = all(0.0f);
    for (int64_t column = 0; column < n_columns; column += LANES) {
        Floats shares = exponential(load(scores + column) - most);
        store(scores + column, shares);
        total += shares;
    }
    float of_all = sum(total);
    for (int64_t i = 0; i < n_channels; i += LANES) {
        Floats heard = all(0.0f);
        for (int64_t column = 0; column < n_columns; column++)
            heard += scores[column] * load(values + column * n_channels + i);
        store(read + i, heard / of_all);
    }
}

/* The same of all tokens of a row. `qkv` holds the first one's query, key and value, a width apart; the next
 * one's follow, and results lie a width apart too. */
static void read_text(const float *qkv, int64_t width, int64_t n_channels, const Text *text, int64_t layer,
                      int64_t row, int64_t head, float *scores, float *read) {
    int64_t place = row * text->row_stride + head * text->head_stride;
    float *keys = text->keys[layer] + place, *values = text->values[layer] + place;
    const float *mask = text->mask ? text->mask + row * text->mask_stride : NULL;
    for (int64_t token = 0; token < text->n_tokens; token++) {
        int64_t column = (text->length + token) * n_channels;
        memcpy(keys + column, qkv + (3 * token + 1) * width, n_channels * sizeof(float));
        memcpy(values + column, qkv + (3 * token + 2) * width, n_channels * sizeof(float));
    }
    for (int64_t token = 0; token < text->n_tokens; token++)
        read_back(qkv + 3 * token * width, keys, values, text->length + token + 1, n_channels, mask, scores,
                  read + token * width);
}

/* Scores of `n_queries` queries, `query_stride` apart, at the positions of one part of a head's keys. */
static inline __attribute__((always_inline)) void score_part(const uint8_t *keys, int64_t n_positions,
                                                             int64_t n_channels, const float *queries,
                                                             int64_t query_stride, int n_queries,
                                                             float *scores, int64_t score_stride) {
    int64_t row_bytes = n_positions + 8;
    for (int64_t channel = 0; channel < n_channels; channel += 4) {
        const uint8_t *rows = keys + channel * row_bytes;
        Floats weights[QUERIES_AT_ONCE][4], least[QUERIES_AT_ONCE];
        for (int query = 0; query < n_queries; query++) {
            float shift = 0.0f;
            for (int i = 0; i < 4; i++) {
                float asked = queries[query * query_stride + channel + i];
                const uint8_t *behind = rows + i * row_bytes + n_positions;
                weights[query][i] = all(asked * number_at(behind));
                shift += asked * number_at(behind + 4);
            }
            least[query] = all(shift);
        }
        int64_t n_whole = n_positions / LANES * LANES;
        for (int64_t start = 0; start < n_positions; start += LANES) {
            /* The last numbers are read with some before them, which are already right. */
            int64_t at = start < n_whole ? start : n_positions - LANES;
            _mm_prefetch(rows + AHEAD + 4 * start, _MM_HINT_T0);
            Floats numbers[4];
            _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) numbers[i] =
                of_bytes(rows + i * row_bytes + at);
            _Pragma("GCC unroll 5") for (int query = 0; query < n_queries; query++) {
                float *place = scores + query * score_stride + at;
                Floats score = least[query];
                if (channel) score += load(place);
                _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) score += weights[query][i] * numbers[i];
                if (start < n_whole)
                    store(place, score);
                else
                    store_last(place, score, n_positions - n_whole);
            }
        }
    }
}

/* What `n_queries` queries hear of a head's values, by their `shares` of the positions. */
static inline __attribute__((always_inline)) void hear_values(const uint8_t *values, int64_t n_positions,
                                                              int64_t n_channels, const float *shares,
                                                              int64_t share_stride, int n_queries,
                                                              float *heard, int64_t heard_stride) {
    enum { AT_ONCE = BY_REGISTERS(4, 2) };
    int64_t row_bytes = n_channels + 8;
    for (int64_t channel = 0; channel < n_channels; channel += AT_ONCE * LANES) {
        int64_t n_left = (n_channels - channel) / LANES;
        Floats sums[QUERIES_AT_ONCE][AT_ONCE];
        float least[QUERIES_AT_ONCE] = {0.0f};
        for (int query = 0; query < n_queries; query++)
            for (int i = 0; i < AT_ONCE; i++) sums[query][i] = all(0.0f);
        for (int64_t position = 0; position < n_positions; position++) {
            const uint8_t *row = values + position * row_bytes;
            _mm_prefetch(row + AHEAD, _MM_HINT_T0);
            float scale = number_at(row + n_channels), shift = number_at(row + n_channels + 4);
            Floats numbers[AT_ONCE];
            _Pragma("GCC unroll 4") for (int i = 0; i < AT_ONCE; i++) numbers[i] =
                of_bytes(row + channel + (i < n_left ? i : 0) * LANES);
            _Pragma("GCC unroll 5") for (int query = 0; query < n_queries; query++) {
                float share = shares[query * share_stride + position];
                least[query] += share * shift;
                Floats weight = all(share * scale);
                _Pragma("GCC unroll 4") for (int i = 0; i < AT_ONCE; i++) sums[query][i] +=
                    weight * numbers[i];
            }
        }
        for (int query = 0; query < n_queries; query++)
            for (int i = 0; i < AT_ONCE && i < n_left; i++)
                store(heard + query * heard_stride + channel + i * LANES, sums[query][i] + least[query]);
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
    switch (n) { CASE(1, call) CASE(2, call) CASE(3, call) CASE(4, call) CASE(5, call) }

/* Attention of a window's rows to one head of its audio; queries and results lie D apart. */
static void hear(const Audio *audio, int64_t layer, int64_t window, int64_t head, int64_t n_heads,
                 int64_t n_channels, const float *queries, int64_t n_queries, int64_t stride, float *scores,
                 float *heard) {
    int64_t n_in_part = audio->n_positions / audio->n_parts, table = window * n_heads + head;
    const uint8_t *keys = audio->keys[layer] + table * audio->n_parts * n_channels * (n_in_part + 8);
    const uint8_t *values = audio->values[layer] + table * audio->n_positions * (n_channels + 8);
    int64_t n_padded = (audio->n_positions + LANES - 1) / LANES * LANES;
    for (int64_t query = 0; query < n_queries; query += QUERIES_AT_ONCE) {
        int64_t n_left = n_queries - query, n_here = n_left < QUERIES_AT_ONCE ? n_left : QUERIES_AT_ONCE;
        const float *asked = queries + query * stride;
        for (int64_t part = 0; part < audio->n_parts; part++) {
            const uint8_t *of_part = keys + part * n_channels * (n_in_part + 8);
            float *place = scores + part * n_in_part;
            WITH_COUNT(n_here,
                       score_part(of_part, n_in_part, n_channels, asked, stride, COUNT, place, n_padded))
        }
        for (int64_t i = 0; i < n_here; i++) {
            float *row = scores + i * n_padded;
            for (int64_t position = audio->n_positions; position < n_padded; position++)
                row[position] = -INFINITY;
            Floats most = all(-INFINITY);
            for (int64_t position = 0; position < n_padded; position += LANES)
                most = larger(most, load(row + position));
            float top = largest(most);
            Floats total = all(0.0f);
            for (int64_t position = 0; position < n_padded; position += LANES) {
                Floats shares = exponential(load(row + position) - top);
                store(row + position, shares);
                total += shares;
            }
            float factor = 1.0f / sum(total);
            for (int64_t position = 0; position < n_padded; position += LANES)
                store(row + position, load(row + position) * factor);
        }
        float *to = heard + query * stride;
        WITH_COUNT(n_here,
                   hear_values(values, audio->n_positions, n_channels, scores, n_padded, COUNT, to, stride))
    }
}

/* Where a step keeps what it makes: for all threads, and, from `of_threads` on, for each of them. */
typedef struct {
    int64_t read, inner, of_threads; /* bytes from the start; the queries, keys and values come first */
    int64_t n_scores, n_states;      /* numbers of a thread, which has its rounded rows behind them */
    int64_t bytes_per_thread;
} Room;

static Room room_for(const Decoder *decoder, const Text *text, const Audio *audio, int64_t n_rows) {
    int64_t width = decoder->width, n_inner = decoder->n_inner, line = 64;
    int64_t n_columns = text->length + text->n_tokens;
    int64_t longest = n_columns > audio->n_positions ? n_columns : audio->n_positions;
    Room room;
    room.read = n_rows * 3 * width * 4;
    room.inner = room.read + n_rows * width * 4;
    room.of_threads = room.inner + n_rows * n_inner * 4;
    room.n_scores = QUERIES_AT_ONCE * (longest + LANES);
    room.n_states = n_inner > width ? n_inner : width;
    room.bytes_per_thread = 4 * room.n_scores + 4 * room.n_states + n_rows * (8 + room.n_states);
    room.bytes_per_thread = (room.bytes_per_thread / line + 2) * line;
    return room;
}

/* Bytes of memory that `tympan_step` wants for this. */
int64_t tympan_step_bytes(const Decoder *decoder, const Text *text, const Audio *audio, int64_t n_rows,
                          int32_t n_threads) {
    Room room = room_for(decoder, text, audio, n_rows);
    return room.of_threads + n_threads * room.bytes_per_thread;
}

/* Embedded states [N, T, D], of which `n_rows` are all N * T, become those behind the last norm; the text's
 * next columns are written. */
void tympan_step(const Decoder *decoder, const Text *text, const Audio *audio, int64_t n_rows, float *states,
                 char *memory, int32_t n_threads) {
    int64_t width = decoder->width, n_heads = decoder->n_heads, n_channels = width / n_heads;
    int64_t n_inner = decoder->n_inner, n_queries = n_rows / audio->n_windows;
    Room room = room_for(decoder, text, audio, n_rows);
    float *qkv = (float *)memory, *read = (float *)(memory + room.read),
          *inner = (float *)(memory + room.inner);
#pragma omp parallel num_threads(n_threads)
    {
        char *own = memory + room.of_threads + omp_get_thread_num() * room.bytes_per_thread;
        float *scores = (float *)own, *row_states = scores + room.n_scores;
        Rounded rounded;
        rounded.scales = row_states + room.n_states;
        rounded.zeros = (int32_t *)(rounded.scales + n_rows);
        rounded.bytes = (uint8_t *)(rounded.zeros + n_rows);
        for (int64_t index = 0; index < decoder->n_layers; index++) {
            const Layer *layer = decoder->layers + index;
            normalise_and_round(states, layer->self_norm, decoder->epsilon, width, n_rows, row_states,
                                rounded);
            EACH_BLOCK (&layer->qkv)
                multiply_block(&layer->qkv, block, rounded, n_rows, qkv, 3 * width, STORE);
#pragma omp for schedule(static)
            for (int64_t item = 0; item < n_rows / text->n_tokens * n_heads; item++) {
                int64_t row = item / n_heads, head = item % n_heads, first = row * text->n_tokens * width;
                read_text(qkv + 3 * first + head * n_channels, width, n_channels, text, index, row, head,
                          scores, read + first + head * n_channels);
            }
            for (int64_t row = 0; row < n_rows; row++) round_row(read + row * width, width, rounded, row);
            EACH_BLOCK (&layer->self_out)
                multiply_block(&layer->self_out, block, rounded, n_rows, states, width, ADD);
            normalise_and_round(states, layer->cross_norm, decoder->epsilon, width, n_rows, row_states,
                                rounded);
            EACH_BLOCK (&layer->queries)
                multiply_block(&layer->queries, block, rounded, n_rows, qkv, width, STORE);
#pragma omp for schedule(static)
            for (int64_t item = 0; item < audio->n_windows * n_heads; item++) {
                int64_t window = item / n_heads, head = item % n_heads;
                int64_t place = window * n_queries * width + head * n_channels;
                hear(audio, index, window, head, n_heads, n_channels, qkv + place, n_queries, width, scores,
                     read + place);
            }
            for (int64_t row = 0; row < n_rows; row++) round_row(read + row * width, width, rounded, row);
            EACH_BLOCK (&layer->cross_out)
                multiply_block(&layer->cross_out, block, rounded, n_rows, states, width, ADD);
            normalise_and_round(states, layer->final_norm, decoder->epsilon, width, n_rows, row_states,
                                rounded);
            EACH_BLOCK (&layer->fc1)
                multiply_block(&layer->fc1, block, rounded, n_rows, inner, n_inner, decoder->activation);
            for (int64_t row = 0; row < n_rows; row++) {
                memcpy(row_states, inner + row * n_inner, n_inner * sizeof(float));
                for (int64_t i = 0; i < decoder->n_spared; i++) row_states[layer->spared[i]] = 0.0f;
                round_row(row_states, n_inner, rounded, row);
            }
            EACH_BLOCK (&layer->fc2) {
                multiply_block(&layer->fc2, block, rounded, n_rows, states, width, ADD);
                for (int64_t row = 0; row < n_rows; row++) {
                    float *place = states + row * width + block * LANES;
                    Floats total = load(place);
                    for (int64_t i = 0; i < decoder->n_spared; i++)
                        total += inner[row * n_inner + layer->spared[i]] *
                                 load(layer->exact + i * width + block * LANES);
                    store(place, total);
                }
            }
        }
#pragma omp for schedule(static)
        for (int64_t row = 0; row < n_rows; row++)
            normalise(states + row * width, decoder->norm, decoder->epsilon, width, states + row * width);
    }
}
