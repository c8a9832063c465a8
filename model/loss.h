/* Losses over rows of logits; sums in float64. */
#ifndef DINM_MODEL_LOSS_H
#define DINM_MODEL_LOSS_H

#include <stddef.h>
#include <stdint.h>

/* y: [n_rows][n_vocab] = log softmax of x. y may be x. */
void dinm_log_softmax(float *y, const float *x, size_t n_rows, size_t n_vocab);

/* Returns sum over rows of -log softmax(logits)[target] (equation 8 times the row count).
 * dlogits: [n_rows][n_vocab] = scale * (softmax - onehot), or NULL; may be logits. */
double dinm_loss_nll(float *dlogits, const float *logits, const int32_t *targets, double scale,
                     size_t n_rows, size_t n_vocab);

/* Rows whose largest logit, the first of equals, is the target's. */
size_t dinm_loss_count_right(const float *logits, const int32_t *targets, size_t n_rows,
                             size_t n_vocab);

enum dinm_kl { DINM_KL_EDITED_BASE, DINM_KL_BASE_EDITED };

/* Returns the sum over rows of KL(edited || base) (equation 9) or KL(base || edited), the edited
 * distribution given by its logits, the base by its log-probabilities.
 * dlogits = scale * gradient with respect to logits, or NULL; must not be logits. */
double dinm_loss_kl(float *dlogits, const float *logits, const float *base_logprobs,
                    enum dinm_kl direction, double scale, size_t n_rows, size_t n_vocab);

#endif
