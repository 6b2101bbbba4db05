/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   learns how long a run takes from what is known before it: recursive least squares with
 *            exponential forgetting (Haykin, Adaptive Filter Theory, ch. 9), on relative errors:
 *            each sample is divided by its own time, for a tenth of a short run matters as much as
 *            a tenth of a long one.
 *
 *     minimise  sum over samples of  forgetting^age * (1 - w.x / t)^2  +  a little of |w - w0|^2
 *
 *            A sample that is far off (more than OUTLIER times, both ways) once the model has learned is
 *            not of the run but of the machine (the thread was taken off its core): it
 *            counts as an error, but moves the weights only as one at that bound.
 * Invariants: the covariance stays symmetric and bounded: it is reset when it is not finite or large.
 * Threading: one lock inside; predict and learn from any thread, some hundred nanoseconds.
 * Failure:   none.
 */
#ifndef MNEME_CORE_MEMORY_PREDICT_H
#define MNEME_CORE_MEMORY_PREDICT_H

#include "pool/lock.h"

#include <stdint.h>

enum { PREDICT_FEATURES = 8 };

struct predictor {
	struct lock lock;
	double scale[PREDICT_FEATURES];                        /* [I] brings features near 1 */
	double weight[PREDICT_FEATURES];                       /* lock */
	double covariance[PREDICT_FEATURES][PREDICT_FEATURES]; /* lock */
	uint64_t samples;                                      /* lock */
	double error_q;                                        /* lock: smoothed |relative error| */
};

/* `prior`: nanoseconds a unit of each feature, believed until samples say otherwise. */
void predictor_init(struct predictor *predictor, const double prior[PREDICT_FEATURES]);
/* Nanoseconds, at least 1. */
uint64_t predictor_predict(struct predictor *predictor, const double feature[PREDICT_FEATURES]);
/* The smoothed |relative error| of the predictions so far. */
double predictor_error(struct predictor *predictor);
/* The run with these features took that long. */
void predictor_learn(struct predictor *predictor, const double feature[PREDICT_FEATURES],
		     uint64_t spent_ns);

#endif
