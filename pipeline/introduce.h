/* What a run says of itself before it begins. */
#ifndef DINM_PIPELINE_INTRODUCE_H
#define DINM_PIPELINE_INTRODUCE_H

#include <stdbool.h>
#include "pipeline/plan.h"

/* Local. Model, cases, ranks, how the layers are shared and whether it fits; judges: what the judge
 * calls unsafe, too. */
int dinm_introduce(const struct dinm_job *job, const struct dinm_plan *plan, bool judges,
                   struct dinm_error *err);

#endif
