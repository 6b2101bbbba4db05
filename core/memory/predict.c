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
#define OUTLIER 2.0

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

uint64_t predictor_predict(struct predictor *predictor, const double feature[PREDICT_FEATURES])
{
	double sum = 0;

	lock_write(&predictor->lock);
	for (int i = 0; i < PREDICT_FEATURES; i++)
		sum += predictor->weight[i] * predictor->scale[i] * feature[i];
	lock_write_done(&predictor->lock);
	return sum < 1 ? 1 : sum > 1e15 ? (uint64_t)1e15 : (uint64_t)sum;
}

/* One step with input x (divided by the time) and the wanted output 1. */
static void update(struct predictor *predictor, const double x[PREDICT_FEATURES], double error)
{
	double gain[PREDICT_FEATURES], denominator = FORGETTING;

	for (int i = 0; i < PREDICT_FEATURES; i++)
		gain[i] = product(predictor->covariance[i], x);
	denominator += product(gain, x);
	for (int i = 0; i < PREDICT_FEATURES; i++)
		predictor->weight[i] += gain[i] / denominator * error;
	double largest = 0;
	for (int i = 0; i < PREDICT_FEATURES; i++)
		for (int k = 0; k <= i; k++) {
			double value =
				(predictor->covariance[i][k] - gain[i] * gain[k] / denominator) /
				FORGETTING;
			predictor->covariance[i][k] = predictor->covariance[k][i] = value;
			if (!(fabs(value) < largest))
				largest = fabs(value);
		}
	if (!(largest < COVARIANCE_MAX))
		covariance_reset(predictor);
}

void predictor_learn(struct predictor *predictor, const double feature[PREDICT_FEATURES],
		     uint64_t spent_ns)
{
	double x[PREDICT_FEATURES], spent = spent_ns ? (double)spent_ns : 1;

	lock_write(&predictor->lock);
	for (int i = 0; i < PREDICT_FEATURES; i++)
		x[i] = feature[i] * predictor->scale[i] / spent;
	double guess = product(predictor->weight, x), error = 1 - guess;
	predictor->error_q += (fabs(error) - predictor->error_q) / 64;
	if (++predictor->samples > LEARNED_SAMPLES && guess > 0 &&
	    (guess < 1 / OUTLIER || guess > OUTLIER)) {
		/* as if it had taken OUTLIER times the guess, or the guess divided by it */
		double nearer = guess < 1 ? 1 / OUTLIER / guess : OUTLIER / guess;
		for (int i = 0; i < PREDICT_FEATURES; i++)
			x[i] *= nearer;
		error = 1 - guess * nearer;
	}
	update(predictor, x, error);
	lock_write_done(&predictor->lock);
}

double predictor_error(struct predictor *predictor)
{
	lock_read(&predictor->lock);
	double error = predictor->error_q;
	lock_read_done(&predictor->lock);
	return error;
}
