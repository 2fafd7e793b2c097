package overload

// Recovery and Judge are what the tests of the report need.
var Recovery = recovery

// Judge judges a report.
func Judge(r *Report, o Options) { r.judge(o) }
