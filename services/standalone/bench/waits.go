package bench

// Statement is what PostgreSQL added up of one statement.
type Statement struct {
	SQL              string  `json:"sql"`
	MillisecondsSaga float64 `json:"ms_saga"`
	CallsSaga        float64 `json:"calls_saga"`
	RowsSaga         float64 `json:"rows_saga"`
}
