/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose:   see predict.h.
 */
#include "core/memory/predict.h"

#include <math.h>
#include <string.h>

#define FORGETTING 0.998
#define COVARIANCE_FIRST 100.0
#define COVARIANCE_MAX 1e5
#define TOO_SLOW 0.3
#define TOO_FAST 1.0

enum { LEARNED_SAMPLES = 64 };

static void covariance_reset(struct predictor *predictor)
{
	memset(predictor->covariance, 0, sizeof(predictor->covariance));
	for (int i = 0; i < PREDICT_FEATURES; i++)
		predictor->covariance[i][i] = COVARIANCE_FIRST;
}

void predictor_init(struct predictor *predictor, const double prior[PREDICT_FEATURES])
{
	memset(predictor, 0, sizeof(*predictor));
	lock_init(&predictor->lock, LOCK_LEAF);
	/* in units of the prior all weights are 1 to begin with */
	for (int i = 0; i < PREDICT_FEATURES; i++) {
		predictor->scale[i] = prior[i];
		predictor->weight[i] = 1;
	}
	covariance_reset(predictor);
}

static double product(const double *a, const double *b)
{
	double sum = 0;

	for (int i = 0; i < PREDICT_FEATURES; i++)
		sum += a[i] * b[i];
	return sum;
}

double predictor_predict(struct predictor *predictor, const double feature[PREDICT_FEATURES])
{
	double sum = 0;

	lock_write(&predictor->lock);
	for (int i = 0; i < PREDICT_FEATURES; i++)
		sum += predictor->weight[i] * predictor->scale[i] * feature[i];
	lock_write_done(&predictor->lock);
	return sum < 1 ? 1 : sum > 1e15 ? 1e15 : sum;
}

/* What was not seen for long must not grow without bound by forgetting. */
static void covariance_bound(struct predictor *predictor)
{
	for (int i = 0; i < PREDICT_FEATURES; i++) {
		double variance = predictor->covariance[i][i];
		if (!isfinite(variance)) {
			covariance_reset(predictor);
			return;
		}
		if (variance <= COVARIANCE_MAX)
			continue;
		double scale = sqrt(COVARIANCE_MAX / variance);
		for (int k = 0; k < PREDICT_FEATURES; k++) {
			predictor->covariance[i][k] *= scale;
			predictor->covariance[k][i] *= scale;
		}
	}
}

/* One step with input x and the error of its output. */
static void update(struct predictor *predictor, const double x[PREDICT_FEATURES], double error)
{
	double gain[PREDICT_FEATURES], denominator = FORGETTING;

	for (int i = 0; i < PREDICT_FEATURES; i++)
		gain[i] = product(predictor->covariance[i], x);
	denominator += product(gain, x);
	for (int i = 0; i < PREDICT_FEATURES; i++)
		predictor->weight[i] += gain[i] / denominator * error;
	for (int i = 0; i < PREDICT_FEATURES; i++)
		for (int k = 0; k <= i; k++) {
			double value =
				(predictor->covariance[i][k] - gain[i] * gain[k] / denominator) /
				FORGETTING;
			predictor->covariance[i][k] = predictor->covariance[k][i] = value;
		}
	covariance_bound(predictor);
}

void predictor_learn(struct predictor *predictor, const double feature[PREDICT_FEATURES],
		     double spent_ns, double whole_ns)
{
	double x[PREDICT_FEATURES];

	lock_write(&predictor->lock);
	for (int i = 0; i < PREDICT_FEATURES; i++)
		x[i] = feature[i] * predictor->scale[i] / whole_ns;
	double error = spent_ns / whole_ns - product(predictor->weight, x);
	if (++predictor->samples > LEARNED_SAMPLES) {
		error = error > TOO_SLOW ? TOO_SLOW : error;
		error = error < -TOO_FAST ? -TOO_FAST : error;
	}
	update(predictor, x, error);
	lock_write_done(&predictor->lock);
}
