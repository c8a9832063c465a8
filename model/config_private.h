/* What the readers of config.json share. */
#ifndef DINM_MODEL_CONFIG_PRIVATE_H
#define DINM_MODEL_CONFIG_PRIVATE_H

#include "io/json.h"
#include "model/config.h"

/* A size that must be given (otherwise = 0) or has a value if it is absent. */
int dinm_config_size(struct dinm_json j, const char *key, size_t *to, int64_t otherwise,
                     int64_t most, struct dinm_error *err);
/* A text key that must have one of the values that are computed here (ended by NULL); absent
 * counts as the first. */
int dinm_config_demand(struct dinm_json j, const char *key, const char *const *wanted,
                       struct dinm_error *err);
/* A key that must be absent, null or false. */
int dinm_config_demand_unset(struct dinm_json j, const char *key, struct dinm_error *err);

/* rope_theta and rope_scaling, or rope_parameters, which newer files have in their place. */
int dinm_config_read_rope(struct dinm_config *c, struct dinm_json j, struct dinm_error *err);
/* sliding_window as the model type understands it. */
int dinm_config_read_window(struct dinm_config *c, struct dinm_json j, struct dinm_error *err);

#endif
