/* What the outputs of a linear layer go through. */
#ifndef TYMPAN_ACTIVATIONS_H
#define TYMPAN_ACTIVATIONS_H

#include <stdint.h>

#include "vectors.h"

/* Or they are stored as they are, or added to what is there, or stored as `linear.c` says of heads. */
enum { GELU, GELU_TANH, RELU, SILU, STORE = -1, ADD = -2, TO_HEADS = -3 };

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

#endif
