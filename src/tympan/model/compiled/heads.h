/* How attention is given its numbers. */
#ifndef TYMPAN_HEADS_H
#define TYMPAN_HEADS_H

#include <stdint.h>

/* Numbers [N, H, positions, K], each kind of index so many numbers apart; channels lie together. */
typedef struct {
    void *numbers;
    int64_t row_stride, head_stride, position_stride;
} Heads;

/* How many numbers lie before the head's first position. */
static inline int64_t start_of_head(const Heads *heads, int64_t row, int64_t head) {
    return row * heads->row_stride + head * heads->head_stride;
}

#endif
