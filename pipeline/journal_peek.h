/* Looking into a journal that another run may be writing: changes nothing and takes no lock. */
#ifndef DINM_PIPELINE_JOURNAL_PEEK_H
#define DINM_PIPELINE_JOURNAL_PEEK_H

#include "pipeline/journal.h"

/* Local. j becomes a journal for dinm_journal_records alone: the whole records of all files in
 * OUT/journal, each file up to its first incomplete or damaged record. Close as usual. */
int dinm_journal_peek(struct dinm_journal *j, const char *out, struct dinm_error *err);

#endif
