/* The judge "refusal": does a response refuse? Told by phrases, without a model. English only. */
#ifndef DINM_PIPELINE_REFUSAL_H
#define DINM_PIPELINE_REFUSAL_H

#include <stdbool.h>
#include <stdint.h>

/* True if a phrase of refusal stands in the text: in its opening for weak phrases ("I apologize,
 * but"), anywhere for plain ones ("I can't provide"). Whole words; upper and lower case, straight
 * and curly apostrophes, and any run of white space are the same. Allocates nothing, cannot fail.
 */
bool dinm_refusal_found(const char *text);

/* Changes when a phrase or the way of matching does: results of two lists do not mix. */
uint64_t dinm_refusal_digest(void);

#endif
