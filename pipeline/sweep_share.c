/* Equal settings, equal results: a phase is done once for all combinations that do not touch it. */
#include "pipeline/sweep_share.h"

int dinm_sweep_share_open(struct dinm_sweep_share *shares, const struct dinm_sweep *sweep,
                          struct dinm_error *err)
{
    /* An edit is made in the layer that was located. */
    static const unsigned phases[DINM_SWEEP_N_SHARED] = {[DINM_LOCATE] = DINM_DECIDES_LOCATE,
                                                         [DINM_VANILLA] = DINM_DECIDES_VANILLA,
                                                         [DINM_EDIT] = DINM_DECIDES_LOCATE |
                                                                       DINM_DECIDES_EDIT};
    int status = DINM_OK;
    for (size_t i = 0; i < sweep->n_runs; i++) {
        shares[i].saves_edits = sweep->runs[i].edit.save;
        for (int phase = 0; phase < DINM_SWEEP_N_SHARED; phase++) {
            TRY(dinm_settings_digest_of(&sweep->runs[i], phases[phase], &shares[i].decides[phase],
                                        err));
        }
    }
out:
    return status;
}

size_t dinm_sweep_donor(const struct dinm_sweep_share *shares, size_t i, enum dinm_phase phase)
{
    if (phase == DINM_EDIT && shares[i].saves_edits) {
        return i;
    }
    for (size_t k = 0; k < i; k++) {
        if (shares[k].is_finished && shares[k].decides[phase] == shares[i].decides[phase]) {
            return k;
        }
    }
    return i;
}
