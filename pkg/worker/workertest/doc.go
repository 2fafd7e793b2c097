// Package workertest tests a participant without a broker: real handlers, real PostgreSQL, and the worker's own code
// from decoded record to encoded reply.
//
//	kit := workertest.New(t, pool, func(w *worker.Worker) { worker.Handle(w, handler) })
//	reserve := &inventoryv1.ReserveStock{Meta: workertest.Meta("reserve_stock"), Lines: lines}
//	reply := kit.Do(t, reserve)
//	require.NotNil(t, reply.GetDone())
//
// A command given to the kit is one record of a poll; Send puts several into one poll, so that it also shows what
// happens to duplicates and to orders that compete within a batch. The kit waits for outside calls and settles them
// before it returns. Resolve plays the time that passes until the questions still open are asked again, and Crash
// stops the worker at a named line and puts a new one in its place.
//
// Conformance runs the whole fault table over one step of a participant, and DeadLetters plays an operator at the API of
// one that runs. Every participant's tests should contain both.
package workertest
