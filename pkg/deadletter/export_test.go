package deadletter

const CountSQL = countSQL
