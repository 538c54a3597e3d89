{-# LANGUAGE OverloadedStrings #-}

-- hedis. Of a URL's login it sends the password alone, which is refused: AUTH is sent by hand, on its one connection.
module Main (main) where

import Control.Concurrent (forkIO)
import Control.Concurrent.Chan (Chan, newChan, readChan, writeChan)
import Control.Concurrent.MVar (newEmptyMVar, putMVar, takeMVar)
import Control.Exception (SomeException, evaluate, try)
import Control.Monad (forM, void)
import qualified Data.ByteString.Char8 as Bytes
import Data.IORef (IORef, modifyIORef, newIORef, readIORef, writeIORef)
import Database.Redis
import System.IO (BufferMode (LineBuffering), hSetBuffering, isEOF, stdout)

data Driver = Driver
  { client :: IORef (Maybe Connection)
  , queued :: IORef [[Bytes.ByteString]]
  , heard :: Chan Bytes.ByteString
  }

-- A reply's type and its text.
shown :: Reply -> (String, String)
shown (Integer n) = ("Integer", show n)
shown (Bulk text) = ("Bulk", maybe "" Bytes.unpack text)
shown (SingleLine text) = ("SingleLine", Bytes.unpack text)
shown (MultiBulk _) = ("MultiBulk", "")
shown (Error text) = error (Bytes.unpack text)

-- Runs commands in a row; hedis sends them in one pipeline.
run :: Driver -> Redis a -> IO a
run driver commands = do
  connection <- readIORef (client driver)
  maybe (fail "not connected") (`runRedis` commands) connection

request :: [Bytes.ByteString] -> Redis Reply
request = fmap (either id id) . sendRequest

perform :: Driver -> [Bytes.ByteString] -> IO (String, String)
perform _ ["open", _, "3"] = fail "RESP2 only"
perform driver ["open", url, _] = do
  let (login, host) = Bytes.breakEnd (== '@') (Bytes.drop (Bytes.length "redis://") url)
      (user, password) = Bytes.break (== ':') (Bytes.takeWhile (/= '@') login)
  info <- either fail pure (parseConnectInfo ("redis://" ++ Bytes.unpack host))
  connection <- checkedConnect info{connectMaxConnections = 1}
  writeIORef (client driver) (Just connection)
  if Bytes.null password then pure ("", "") else do
    shown <$> run driver (request ["AUTH", user, Bytes.drop 1 password])
perform driver ("call" : command) = shown <$> run driver (request command)
perform driver ("queue" : command) = modifyIORef (queued driver) (command :) >> pure ("", "")
perform driver ["pipeline"] = do
  commands <- taken driver
  replies <- run driver (forM commands request)
  pure ("", show (length (map shown replies)))
perform driver ["multi"] = do
  commands <- taken driver
  done <- run driver (multiExec (sequence <$> forM commands send))
  case done of
    TxSuccess replies -> pure ("", show (length replies))
    TxAborted -> fail "aborted"
    TxError why -> fail why
 where
  send :: [Bytes.ByteString] -> RedisTx (Queued Reply)
  send = sendRequest
perform driver ["listen", channel] = do
  controller <- newPubSubController [(channel, writeChan (heard driver))] []
  ready <- newEmptyMVar
  connection <- readIORef (client driver)
  let listening = maybe (pure ()) (\on -> pubSubForever on controller (putMVar ready ())) connection
  void (forkIO listening)
  takeMVar ready
  pure ("", "")
perform driver ["message"] = (,) "" . Bytes.unpack <$> readChan (heard driver)
perform _ words' = fail ("unknown line: " ++ show words')

-- The commands that were queued, which are queued no more.
taken :: Driver -> IO [[Bytes.ByteString]]
taken driver = do
  commands <- readIORef (queued driver)
  writeIORef (queued driver) []
  pure (reverse commands)

oneLine :: String -> String
oneLine = unwords . words

serve :: Driver -> IO ()
serve driver = do
  end <- isEOF
  if end then pure () else do
    line <- Bytes.getLine
    done <- try (perform driver (Bytes.split '\t' line) >>= \(kind, text) -> evaluate (length text) >> pure (kind, text))
    putStrLn $ case done of
      Left failed -> "error\t" ++ oneLine (show (failed :: SomeException))
      Right (kind, text) -> "ok\t" ++ kind ++ "\t" ++ oneLine text
    serve driver

main :: IO ()
main = do
  hSetBuffering stdout LineBuffering
  Driver <$> newIORef Nothing <*> newIORef [] <*> newChan >>= serve
