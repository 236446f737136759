package main

import (
	"context"
	"time"

	"github.com/gomodule/redigo/redis"
)

// redisConnectionsMax is how many connections the clients share at most: one for each, as redis-benchmark has them.
const redisConnectionsMax = 1024

type redisServer struct{ pool *redis.Pool }

func openRedis(address string) (store, error) {
	pool := &redis.Pool{
		MaxIdle: redisConnectionsMax, MaxActive: redisConnectionsMax, Wait: true,
		Dial: func() (redis.Conn, error) {
			return redis.Dial("tcp", address, redis.DialConnectTimeout(5*time.Second),
				redis.DialReadTimeout(seconds(*timeout)), redis.DialWriteTimeout(seconds(*timeout)))
		},
	}
	connection := pool.Get()
	defer connection.Close()
	_, err := connection.Do("PING")
	return redisServer{pool}, err
}

func (this redisServer) do(command string, arguments ...interface{}) (interface{}, error) {
	connection := this.pool.Get()
	defer connection.Close()
	return connection.Do(command, arguments...)
}

func (this redisServer) get(_ context.Context, key string) error {
	_, err := this.do("GET", key)
	return err
}

func (this redisServer) put(_ context.Context, key, value string) error {
	_, err := this.do("SET", key, value)
	return err
}

func (this redisServer) increment(_ context.Context, key string) error {
	_, err := this.do("INCR", key)
	return err
}

func (this redisServer) modify(ctx context.Context, key, value string) error {
	connection := this.pool.Get()
	defer connection.Close()
	for ctx.Err() == nil {
		if _, err := connection.Do("WATCH", key); err != nil {
			return err
		}
		if _, err := connection.Do("GET", key); err != nil {
			return err
		}
		if err := connection.Send("MULTI"); err != nil {
			return err
		}
		if err := connection.Send("SET", key, value); err != nil {
			return err
		}
		if done, err := connection.Do("EXEC"); err != nil || done != nil {
			return err
		}
	}
	return ctx.Err()
}

func (this redisServer) number(_ context.Context, key string) (int, error) {
	return redis.Int(this.do("GET", key))
}
