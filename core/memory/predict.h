/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   learns how long a part of a run takes from what is known before it: recursive least
 *            squares with exponential forgetting (Haykin, Adaptive Filter Theory, ch. 9), on errors
 *            relative to the whole run: each sample is divided by that, for a tenth of a short run
 *            matters as much as a tenth of a long one.
 *
 *     minimise  sum over samples of  forgetting^age * ((t - w.x) / whole)^2  +  a little of |w - w0|^2
 *
 *            What took longer by more than TOO_SLOW of the whole run, once the model has learned, is
 *            not of the run but of the machine (the thread was taken off its core): it moves the
 *            weights only as an error of that size; so does, from TOO_FAST on, what was over too soon.
 * Invariants: the covariance stays symmetric, positive and bounded: what samples have said nothing of
 *            for long is scaled down to the bound, alone; it is reset when it is not finite.
 * Threading: one lock inside; predict and learn from any thread, some hundred nanoseconds.
 * Failure:   none.
 */
#ifndef MNEME_CORE_MEMORY_PREDICT_H
#define MNEME_CORE_MEMORY_PREDICT_H

#include "pool/lock.h"

#include <stdint.h>

enum { PREDICT_FEATURES = 13 };

struct predictor {
	struct lock lock;
	double scale[PREDICT_FEATURES];                        /* [I] brings features near 1 */
	double weight[PREDICT_FEATURES];                       /* lock */
	double covariance[PREDICT_FEATURES][PREDICT_FEATURES]; /* lock */
	uint64_t samples;                                      /* lock */
};

/* `prior`: nanoseconds a unit of each feature, believed until samples say otherwise. */
void predictor_init(struct predictor *predictor, const double prior[PREDICT_FEATURES]);
/* Nanoseconds, at least 1. */
double predictor_predict(struct predictor *predictor, const double feature[PREDICT_FEATURES]);
/* What has these features took that long, as a part of a run that took `whole_ns` > 0. */
void predictor_learn(struct predictor *predictor, const double feature[PREDICT_FEATURES],
		     double spent_ns, double whole_ns);

#endif
