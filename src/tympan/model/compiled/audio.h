/* The audio's keys and values, rounded to six bits, as a step hears them. */
#ifndef TYMPAN_AUDIO_H
#define TYMPAN_AUDIO_H

#include <stdint.h>

#include "linear.h"

/* Of each layer [B, H, bytes of a head], for B windows of S positions. */
typedef struct {
    const uint8_t *const *heads;
    int64_t n_windows, n_positions;
} Audio;

/* Bytes of memory that `hear` wants of each thread. */
INSIDE int64_t hear_bytes(int64_t n_positions, int64_t n_channels);

/* Attention of a window's rows to one head of its audio; queries and results lie `stride` numbers apart. */
INSIDE void hear(const Audio *audio, int64_t layer, int64_t window, int64_t head, int64_t n_heads,
                 int64_t n_channels, const float *queries, int64_t n_queries, int64_t stride, float *heard,
                 char *memory);

#endif
